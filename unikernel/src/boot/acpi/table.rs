//! One table with a system description header (ACPI specification 5.2.6), as bytes that have been checked.

use super::AcpiTablesError;
use super::error::TableName;
use super::firmware_memory::{FirmwareMemory, bytes, sums_to_zero};
use crate::boot::fields::u32_at;
use acpi::sdt::SdtHeader;

/// Length of the header that all tables share, and so the least length of a table.
pub(super) const HEADER_LEN: u32 = size_of::<SdtHeader>() as u32;
/// The longest table that is read. Those of virtual machines have some KiB; a limit bounds what a wrong length costs.
pub(super) const LEN_MAX: u32 = 1 << 20;

/// A table whose name, length and checksum are right, and that can be read as a whole.
#[derive(Clone, Copy)]
pub(super) struct Table<'m> {
    name: TableName,
    address: u64,
    bytes: &'m [u8],
}

impl<'m> Table<'m> {
    /// Reads the table at `address`, which must have this name and at least `len_min` bytes; these are never fewer than
    /// a header has.
    pub(super) fn read(
        memory: &'m impl FirmwareMemory,
        address: u64,
        name: TableName,
        len_min: u32,
    ) -> Result<Self, AcpiTablesError> {
        let unreadable = |len_bytes| AcpiTablesError::Unreadable { table: name, address, len_bytes };
        let header = bytes(memory, address, HEADER_LEN).ok_or(unreadable(HEADER_LEN))?;
        if name_in(header) != name {
            return Err(AcpiTablesError::NotThere { table: name, address });
        }
        let (len_bytes, min) = (u32_at(header, 4), len_min.max(HEADER_LEN));
        if !(min..=LEN_MAX).contains(&len_bytes) {
            return Err(AcpiTablesError::Length { table: name, address, len_bytes, min, max: LEN_MAX });
        }
        let bytes = bytes(memory, address, len_bytes).ok_or(unreadable(len_bytes))?;
        if !sums_to_zero(bytes) {
            return Err(AcpiTablesError::Checksum { table: name, address });
        }
        // The crate would pass over such a table as if it was not there.
        let (oem_id, oem_table_id) = (&bytes[10..16], &bytes[16..24]);
        if core::str::from_utf8(oem_id).is_err() || core::str::from_utf8(oem_table_id).is_err() {
            return Err(AcpiTablesError::NotUtf8 { table: name, address });
        }
        Ok(Self { name, address, bytes })
    }

    pub(super) fn name(&self) -> TableName {
        self.name
    }

    /// Its physical address.
    pub(super) fn address(&self) -> u64 {
        self.address
    }

    /// All of it, header included.
    pub(super) fn bytes(&self) -> &'m [u8] {
        self.bytes
    }

    /// What comes behind the header.
    pub(super) fn body(&self) -> &'m [u8] {
        &self.bytes[HEADER_LEN as usize..]
    }
}

/// The name in a header.
pub(super) fn name_in(header: &[u8]) -> TableName {
    TableName(u32_at(header, 0).to_le_bytes())
}
