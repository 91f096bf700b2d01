//! The ACPI tables (ACPI specification 6.5, chapter 5), in the order in which they lie at [`ACPI_TABLES`]:
//!
//! ```text
//! RSDP   points to the XSDT
//! DSDT   one object: the sleep type that powers off
//! FADT   points to the DSDT; no fixed hardware but the sleep registers
//! MADT   the local APICs
//! XSDT   points to FADT and MADT
//! ```
//!
//! A table is written behind those it points to, so that their addresses are known; only the RSDP, which a guest may
//! look for at the start, is filled in last.

use crate::devices::sleep;
use crate::memory::GuestMemory;
use acpi_tables::fadt::{FADT, FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{EnabledStatus, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, aml};
use guest_interface::layout::ACPI_TABLES;
use guest_interface::ports;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

const OEM_ID: [u8; 6] = *b"FRHOLD";
const OEM_TABLE_ID: [u8; 8] = *b"FREEHOLD";
const OEM_REVISION: u32 = 1;

/// Where every table starts: what the RSDP needs (5.2.5.1), and enough for every field of the others.
const ALIGNMENT: usize = 16;

/// Length of the header that all tables but the RSDP have (5.2.6).
const HEADER_LEN: u32 = 36;

/// From revision 2 on, integers in the DSDT have 64 bits (5.2.11.1).
const DSDT_REVISION: u8 = 2;

/// Local APIC after a reset (Intel SDM volume 3, 11.4.1).
const LOCAL_APIC: u32 = 0xfee0_0000;

/// Fixed feature flags (5.2.9): WBINVD and HLT work; power button, sleep button and RTC are no fixed hardware, and neither
/// is anything else; nobody sits at the machine. That there is no reset register is a flag that is missing.
const FEATURES: [Flags; 7] = [
    Flags::Wbinvd,
    Flags::ProcC1,
    Flags::PwrButton,
    Flags::SlpButton,
    Flags::FixRtc,
    Flags::Headless,
    Flags::HwReducedAcpi,
];

/// IA-PC boot architecture flags (5.2.9.3): there is a UART that no namespace tells of, and neither VGA nor CMOS RTC. Bit
/// 1, an 8042, is clear.
const BOOT_ARCHITECTURE: u16 = 1 << 0 | 1 << 2 | 1 << 5;

/// Writes the tables of a machine with this many processors, whose APIC ids count from 0. Returns the RSDP's address.
///
/// # Errors
/// If the memory does not reach to 1 MiB.
pub(crate) fn write(memory: &GuestMemory, processors: u8) -> Result<u64, GuestMemoryError> {
    memory.write_slice(&build(processors), GuestAddress(ACPI_TABLES))?;
    Ok(ACPI_TABLES)
}

fn build(processors: u8) -> Vec<u8> {
    let mut tables = vec![0; Rsdp::len()];
    let dsdt = append(&mut tables, &dsdt());
    let fadt = append(&mut tables, &fadt(dsdt));
    let madt = append(&mut tables, &madt(processors));
    let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = append(&mut tables, &xsdt);
    tables[..Rsdp::len()].copy_from_slice(&bytes(&Rsdp::new(OEM_ID, xsdt)));
    tables
}

/// Appends a table and returns its guest-physical address.
fn append(tables: &mut Vec<u8>, table: &dyn Aml) -> u64 {
    tables.resize(tables.len().next_multiple_of(ALIGNMENT), 0);
    let address = ACPI_TABLES + tables.len() as u64;
    table.to_aml_bytes(tables);
    address
}

fn bytes(object: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    object.to_aml_bytes(&mut bytes);
    bytes
}

/// `\_S5_` (7.4.2): the sleep type of control register A, and of B, which there is none of.
fn dsdt() -> Sdt {
    let mut dsdt = Sdt::new(*b"DSDT", HEADER_LEN, DSDT_REVISION, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    let types = aml::Package::new(vec![&sleep::TYPE_OFF, &sleep::TYPE_OFF]);
    dsdt.append_slice(&bytes(&aml::Name::new("\\_S5_".into(), &types)));
    dsdt
}

fn fadt(dsdt: u64) -> FADT {
    let port = u64::from(ports::SLEEP_CONTROL);
    let sleep_register = GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, port);
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION).dsdt_64(dsdt);
    fadt = FEATURES.into_iter().fold(fadt, FADTBuilder::flag);
    fadt.iapc_boot_arch = BOOT_ARCHITECTURE.into();
    fadt.sleep_control_reg = sleep_register;
    fadt.sleep_status_reg = sleep_register;
    fadt.finalize()
}

/// Its flags are zero: beside the local APICs there are no 8259s.
fn madt(processors: u8) -> MADT {
    let address = LocalInterruptController::Address(LOCAL_APIC);
    let mut madt = MADT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION, address);
    for id in 0..processors {
        madt.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
    }
    madt
}

#[cfg(test)]
#[path = "acpi_tests.rs"]
mod tests;
