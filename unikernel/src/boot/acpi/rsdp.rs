//! The root system description pointer (ACPI specification 5.2.5): where it is, and where it points.

use super::AcpiTablesError;
use super::error::TableName;
use super::firmware_memory::{FirmwareMemory, bytes, sums_to_zero};
use super::table::LEN_MAX;
use crate::boot::fields::{u32_at, u64_at};

const SIGNATURE: &[u8] = b"RSD PTR ";
/// Its length in ACPI 1.0; the first checksum covers these bytes.
const LEN: u32 = 20;
/// Its length since revision 2.
const EXTENDED_LEN: u32 = 36;
/// First revision with a length, an XSDT and a second checksum.
const EXTENDED_REVISION: u8 = 2;

const BIOS_START: u64 = 0xe_0000;
const BIOS_LEN: u32 = 0x2_0000;
/// The RSDP lies at a multiple of this, where it has to be searched.
const STEP: usize = 16;

/// Physical address of the list of tables.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RootAddress {
    /// An RSDT, with addresses of 32 bits.
    Rsdt(u32),
    /// An XSDT, with addresses of 64 bits.
    Xsdt(u64),
}

/// Searches the BIOS area (ACPI specification 5.2.5.1). What has the signature but a wrong checksum is not it.
///
/// The extended BIOS data area, the other place of the specification, is found by a word in page 0, which is never mapped;
/// VMMs that don't say where the RSDP is have it in the BIOS area.
pub(super) fn search(memory: &impl FirmwareMemory) -> Option<u64> {
    let mut candidates = bytes(memory, BIOS_START, BIOS_LEN)?.windows(LEN as usize).step_by(STEP);
    let index = candidates.position(|bytes| bytes.starts_with(SIGNATURE) && sums_to_zero(bytes))?;
    Some(BIOS_START + (index * STEP) as u64)
}

/// Where the RSDP at `address` points.
pub(super) fn root(memory: &impl FirmwareMemory, address: u64) -> Result<RootAddress, AcpiTablesError> {
    let table = TableName::RSDP;
    let read = |len_bytes| {
        let unreadable = AcpiTablesError::Unreadable { table, address, len_bytes };
        bytes(memory, address, len_bytes).ok_or(unreadable)
    };
    let checked = |bytes: &[u8]| match sums_to_zero(bytes) {
        true => Ok(()),
        false => Err(AcpiTablesError::Checksum { table, address }),
    };
    let rsdp = read(LEN)?;
    if !rsdp.starts_with(SIGNATURE) {
        return Err(AcpiTablesError::NotThere { table, address });
    }
    checked(rsdp)?;
    let rsdt = RootAddress::Rsdt(u32_at(rsdp, 16));
    if rsdp[15] < EXTENDED_REVISION {
        return Ok(rsdt);
    }
    let rsdp = read(EXTENDED_LEN)?;
    let len_bytes = u32_at(rsdp, 20);
    if !(EXTENDED_LEN..=LEN_MAX).contains(&len_bytes) {
        return Err(AcpiTablesError::Length { table, address, len_bytes, min: EXTENDED_LEN, max: LEN_MAX });
    }
    checked(read(len_bytes)?)?;
    match u64_at(rsdp, 24) {
        0 => Ok(rsdt),
        xsdt => Ok(RootAddress::Xsdt(xsdt)),
    }
}
