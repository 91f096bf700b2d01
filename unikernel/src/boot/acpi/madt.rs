//! The multiple APIC description table (ACPI specification 5.2.12): processors and local APICs.

use super::AcpiTablesError;
use super::table::Table;
use acpi::madt::{self, Madt, MadtEntry};
use core::pin::Pin;

/// The table without entries.
pub(super) const LEN_MIN: u32 = size_of::<Madt>() as u32;
/// Most processors whose APIC ids are kept.
pub(super) const APIC_IDS_MAX: usize = 64;

const ENABLED: u32 = 1 << 0;
/// The ids that address all processors, so that none has one of them.
const BROADCAST: u8 = u8::MAX;
const X2APIC_BROADCAST: u32 = u32::MAX;

/// The processors that the firmware enabled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Processors {
    apic_ids: [u32; APIC_IDS_MAX],
    enabled: usize,
}

impl Processors {
    const NONE: Self = Self { apic_ids: [0; APIC_IDS_MAX], enabled: 0 };

    /// Their APIC ids, as the table lists them: the first [`APIC_IDS_MAX`]. Nobody has checked that each is there once.
    pub(crate) fn apic_ids(&self) -> &[u32] {
        &self.apic_ids[..self.enabled.min(APIC_IDS_MAX)]
    }

    /// How many there are, also of those that are not listed.
    pub(crate) fn enabled(&self) -> usize {
        self.enabled
    }

    fn add(&mut self, apic_id: u32, flags: u32) {
        if flags & ENABLED == 0 {
            return;
        }
        if let Some(place) = self.apic_ids.get_mut(self.enabled) {
            *place = apic_id;
        }
        self.enabled += 1;
    }
}

/// Checks what the crate's iterator trusts: it goes on by as many bytes as an entry says, be it none or more than there
/// are, and gives a reference to the structure of an entry's type, however short the entry is.
pub(super) fn check_entries(table: &Table<'_>) -> Result<(), AcpiTablesError> {
    let mut rest = &table.bytes()[LEN_MIN as usize..];
    while let Some(&kind) = rest.first() {
        let len_bytes = rest.get(1).copied().unwrap_or(0);
        let (min, max) = (entry_len_min(kind), rest.len());
        if !(min..=max).contains(&len_bytes.into()) {
            let address = table.address() + (table.bytes().len() - rest.len()) as u64;
            return Err(AcpiTablesError::MadtEntry { address, kind, len_bytes, min, max });
        }
        rest = &rest[len_bytes.into()..];
    }
    Ok(())
}

/// Length of the structure that the crate reads an entry of this type as.
fn entry_len_min(kind: u8) -> usize {
    match kind {
        0x0 => size_of::<madt::LocalApicEntry>(),
        0x1 => size_of::<madt::IoApicEntry>(),
        0x2 => size_of::<madt::InterruptSourceOverrideEntry>(),
        0x3 => size_of::<madt::NmiSourceEntry>(),
        0x4 => size_of::<madt::LocalApicNmiEntry>(),
        0x5 => size_of::<madt::LocalApicAddressOverrideEntry>(),
        0x6 => size_of::<madt::IoSapicEntry>(),
        0x7 => size_of::<madt::LocalSapicEntry>(),
        0x8 => size_of::<madt::PlatformInterruptSourceEntry>(),
        0x9 => size_of::<madt::LocalX2ApicEntry>(),
        0xa => size_of::<madt::X2ApicNmiEntry>(),
        0xb => size_of::<madt::GiccEntry>(),
        0xc => size_of::<madt::GicdEntry>(),
        0xd => size_of::<madt::GicMsiFrameEntry>(),
        0xe => size_of::<madt::GicRedistributorEntry>(),
        0xf => size_of::<madt::GicInterruptTranslationServiceEntry>(),
        0x10 => size_of::<madt::MultiprocessorWakeupEntry>(),
        _ => size_of::<madt::EntryHeader>(),
    }
}

/// The address of the local APIC's registers, and the processors. The table has passed [`check_entries`].
pub(super) fn read(table: Pin<&Madt>) -> (u64, Processors) {
    let mut local_apic_address = u64::from(table.local_apic_address);
    let mut processors = Processors::NONE;
    for entry in table.entries() {
        match entry {
            MadtEntry::LocalApic(entry) if entry.apic_id != BROADCAST => {
                processors.add(entry.apic_id.into(), entry.flags);
            }
            MadtEntry::LocalX2Apic(entry) if entry.x2apic_id != X2APIC_BROADCAST => {
                processors.add(entry.x2apic_id, entry.flags);
            }
            MadtEntry::LocalApicAddressOverride(entry) => local_apic_address = entry.local_apic_address,
            _ => {}
        }
    }
    (local_apic_address, processors)
}
