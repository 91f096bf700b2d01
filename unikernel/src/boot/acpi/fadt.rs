//! The fixed ACPI description table (ACPI specification 5.2.9): which registers power the machine off.

use super::AcpiTablesError;
use super::error::TableName;
use super::firmware_memory::FirmwareMemory;
use super::sleep_type::{self, SleepTypes};
use super::table::{HEADER_LEN, Table};
use crate::boot::fields::u32_at;
use crate::device::power_off::{PowerOff, SleepRegister};
use acpi::address::{AddressSpace, GenericAddress};
use acpi::fadt::Fadt;
use core::ptr::NonNull;

/// Length of the table of ACPI 1.0, the shortest. Its last field is the flags.
pub(super) const LEN_MIN: u32 = 116;
/// Length of the structure that the crate reads the table as: that of ACPI 6.
const STRUCTURE_LEN: usize = size_of::<Fadt>();

const PM1_CONTROL_LEN: usize = 89;
const FLAGS: usize = 112;
const HARDWARE_REDUCED: u32 = 1 << 20;

/// Checks what the crate trusts: it multiplies the length of the PM1 control registers by 8, in 8 bits.
pub(super) fn check(table: &Table<'_>) -> Result<(), AcpiTablesError> {
    let len_bytes = table.bytes()[PM1_CONTROL_LEN];
    // Without that hardware the field says nothing, and the crate is not asked for it.
    let is_used = u32_at(table.bytes(), FLAGS) & HARDWARE_REDUCED == 0;
    if is_used && len_bytes.checked_mul(8).is_none() {
        return Err(AcpiTablesError::Pm1ControlLength { address: table.address(), len_bytes });
    }
    Ok(())
}

/// A table shorter than the crate's structure, filled up with zeros.
///
/// The crate makes a reference to the whole structure, and tells which fields there are by the table's revision alone.
/// The sleep registers came with ACPI 5, but it reads them in any table of revision 2 and up; QEMU's has revision 3 and
/// ends before them. A field that is all zeros says that there is no such register.
pub(super) struct FadtCopy {
    address: u64,
    bytes: [u8; STRUCTURE_LEN],
}

impl FadtCopy {
    /// A copy of a table, if it is too short.
    pub(super) fn of(table: &Table<'_>) -> Option<Self> {
        let mut bytes = [0; STRUCTURE_LEN];
        let len = table.bytes().len();
        if len >= STRUCTURE_LEN {
            return None;
        }
        bytes[..len].copy_from_slice(table.bytes());
        Some(Self { address: table.address(), bytes })
    }

    /// Where the first `len_bytes` bytes of the copy are, if `physical` is the address of the table. Whoever gets that may
    /// read as many there, as long as `self` lives.
    pub(super) fn show(&self, physical: u64, len_bytes: usize) -> Option<NonNull<u8>> {
        (physical == self.address && len_bytes <= STRUCTURE_LEN).then(|| NonNull::from(&self.bytes).cast())
    }
}

/// How to power off by ports; `None` if the registers are elsewhere, or the firmware does not say what to write to them.
/// The table has passed [`check`].
pub(super) fn power_off(
    memory: &impl FirmwareMemory,
    fadt: &Fadt,
) -> Result<Option<PowerOff>, AcpiTablesError> {
    let flags = fadt.flags;
    let is_reduced = flags.system_is_hw_reduced_acpi();
    // An error of the crate's is an address space or access size that nobody knows.
    let register = match is_reduced {
        true => fadt.sleep_control_register().ok().flatten(),
        false => fadt.pm1a_control_block().ok(),
    };
    let Some(port) = register.and_then(port_of) else { return Ok(None) };
    let Some(SleepTypes { a, b }) = soft_off(memory, fadt)? else { return Ok(None) };
    let first = SleepRegister { port, sleep_type: a };
    if is_reduced {
        return Ok(Some(PowerOff::SleepControl(first)));
    }
    // A machine that needs both registers is not powered off by one.
    let second = match fadt.pm1b_control_block() {
        Ok(None) => None,
        Ok(Some(register)) => match port_of(register) {
            Some(port) => Some(SleepRegister { port, sleep_type: b }),
            None => return Ok(None),
        },
        Err(_) => return Ok(None),
    };
    Ok(Some(PowerOff::Pm1Control(first, second)))
}

/// The port of a register in I/O space. Port 0 is that of an empty field.
fn port_of(register: GenericAddress) -> Option<u16> {
    let is_port = register.address_space == AddressSpace::SystemIo && register.address != 0;
    u16::try_from(register.address).ok().filter(|_| is_port)
}

/// The sleep types for soft off, from the DSDT.
fn soft_off(memory: &impl FirmwareMemory, fadt: &Fadt) -> Result<Option<SleepTypes>, AcpiTablesError> {
    let missing = AcpiTablesError::Missing { table: TableName::DSDT };
    let address = fadt.dsdt_address().map_err(|_| missing)?;
    let dsdt = Table::read(memory, address as u64, TableName::DSDT, HEADER_LEN)?;
    Ok(sleep_type::soft_off(dsdt.body()))
}
