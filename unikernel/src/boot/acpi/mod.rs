//! What ACPI says about the machine: its processors, its local APIC, and how to power it off.
//!
//! The `acpi` crate reads the tables, but it trusts what they say of themselves: a length too small or an entry cut short
//! by its table's end sends it beyond the memory it was given, or around for ever. So each table is checked before the
//! crate sees it:
//!
//! | part | what it is about |
//! |---|---|
//! | `firmware_memory` | the seam to physical memory |
//! | `rsdp` | where the tables begin |
//! | `table` | one table as checked bytes |
//! | `root` | the list of tables |
//! | `madt`, `fadt` | what must hold of these two before the crate reads them, and what is taken from them |
//! | `sleep_type` | the one object that is needed of the AML |
//! | `handler` | what the crate reads memory through |
//!
//! Tables that nobody reads are not checked beyond what the crate looks at when it passes them, their header.
//! What is checked can still be changed by the VMM before it is read: no defence against that is tried, since a VMM owns
//! its guest's memory anyway.
#![cfg_attr(target_os = "none", expect(dead_code, reason = "the boot sequence does not call `read` yet"))]

mod error;
mod fadt;
mod firmware_memory;
mod handler;
mod madt;
mod root;
mod rsdp;
mod sleep_type;
mod table;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod test_tables;
#[cfg(test)]
mod tests;

pub(crate) use error::AcpiTablesError;
pub(crate) use firmware_memory::FirmwareMemory;
pub(crate) use madt::Processors;

use crate::device::power_off::PowerOff;
use acpi::AcpiTables;
use acpi::fadt::Fadt;
use acpi::madt::Madt;
use error::TableName;
use fadt::FadtCopy;
use handler::Handler;
use root::Root;
use table::Table;

/// What the kernel takes from ACPI.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    /// Physical address of the registers of each processor's local APIC, as the MADT says it: nobody has checked that
    /// it is a sensible one.
    pub(crate) local_apic_address: u64,
    /// The processors that can be started.
    pub(crate) processors: Processors,
    /// How to power off, if ports can do it.
    pub(crate) power_off: Option<PowerOff>,
}

/// Reads the ACPI tables, from the RSDP at the address in the start info, or from where a PC's firmware has it. `None` if
/// the machine has no ACPI.
///
/// # Errors
/// [`AcpiTablesError`] for the first table that is not as the ACPI specification says.
pub(crate) fn read(
    memory: &impl FirmwareMemory,
    start_info_rsdp: Option<u64>,
) -> Result<Option<Platform>, AcpiTablesError> {
    let Some(rsdp) = start_info_rsdp.or_else(|| rsdp::search(memory)) else { return Ok(None) };
    let root = Root::read(memory, &rsdp::root(memory, rsdp)?)?;
    let madt = Table::read(memory, root.find(memory, TableName::MADT)?, TableName::MADT, madt::LEN_MIN)?;
    madt::check_entries(&madt)?;
    let fadt = Table::read(memory, root.find(memory, TableName::FADT)?, TableName::FADT, fadt::LEN_MIN)?;
    fadt::check(&fadt)?;

    let copy = FadtCopy::of(&fadt);
    let tables = tables(memory, &root, copy.as_ref())?;
    let missing = |table| move |_| AcpiTablesError::Missing { table };
    let parsed_madt = tables.find_table::<Madt>().map_err(missing(TableName::MADT))?;
    let parsed_fadt = tables.find_table::<Fadt>().map_err(missing(TableName::FADT))?;
    let (local_apic_address, processors) = madt::read(parsed_madt.get());
    let power_off = fadt::power_off(memory, &parsed_fadt)?;
    Ok(Some(Platform { local_apic_address, processors, power_off }))
}

/// Gives checked tables to the crate.
///
/// Not by its `from_rsdp`: that reads 36 bytes also of an RSDP of 20, and sums up as many bytes as the RSDP says it has,
/// be it none or 4 GiB.
fn tables<'m, M: FirmwareMemory>(
    memory: &'m M,
    root: &Root<'_>,
    fadt: Option<&'m FadtCopy>,
) -> Result<AcpiTables<Handler<'m, M>>, AcpiTablesError> {
    let table = root.table();
    // SAFETY: the crate wants a valid RSDT or XSDT, of the kind that the revision says. `Root` has checked that: its
    // signature, that all of it is readable, that it is longer than a header, and the header of each table it lists.
    // The crate reads more only of a MADT and a FADT; of each it takes the first in the list that is valid. That is the
    // one `Root::find` found, and it has been checked. What the handler gives for any other address is no table.
    unsafe { AcpiTables::from_rsdt(Handler::new(memory, fadt), root.revision(), table.address() as usize) }
        .map_err(|_| AcpiTablesError::Refused { table: table.name(), address: table.address() })
}
