//! The list of tables: RSDT or XSDT (ACPI specification 5.2.7 and 5.2.8).

use super::AcpiTablesError;
use super::error::TableName;
use super::firmware_memory::{FirmwareMemory, bytes};
use super::rsdp::RootAddress;
use super::table::{HEADER_LEN, Table, name_in};
use crate::boot::fields::u64_at;

/// Most tables a list may have. Machines have about ten; each is looked at several times.
pub(super) const TABLES_MAX: usize = 256;

/// A list of at most [`TABLES_MAX`] whole entries, which all point at readable headers or nowhere.
pub(super) struct Root<'m> {
    table: Table<'m>,
    entry_len: usize,
}

impl<'m> Root<'m> {
    /// Reads the list, and looks at the header of each table in it.
    pub(super) fn read(
        memory: &'m impl FirmwareMemory,
        address: &RootAddress,
    ) -> Result<Self, AcpiTablesError> {
        let (address, name, entry_len) = match *address {
            RootAddress::Rsdt(address) => (u64::from(address), TableName::RSDT, 4),
            RootAddress::Xsdt(address) => (address, TableName::XSDT, 8),
        };
        let table = Table::read(memory, address, name, HEADER_LEN)?;
        let body = table.body();
        // The crate makes an address of as many bytes as are left.
        if !body.len().is_multiple_of(entry_len) {
            let len_bytes = table.bytes().len() as u32;
            return Err(AcpiTablesError::CutList { list: name, address, len_bytes });
        }
        let tables = body.len() / entry_len;
        if tables > TABLES_MAX {
            return Err(AcpiTablesError::TooManyTables { list: name, address, tables, max: TABLES_MAX });
        }
        let root = Self { table, entry_len };
        for (index, address) in root.addresses().enumerate() {
            // Some firmware leaves entries empty.
            if address != 0 && bytes(memory, address, HEADER_LEN).is_none() {
                return Err(AcpiTablesError::ListedUnreadable { list: name, index, address });
            }
        }
        Ok(root)
    }

    /// The address of the first table of this name.
    pub(super) fn find(&self, memory: &impl FirmwareMemory, name: TableName) -> Result<u64, AcpiTablesError> {
        self.addresses()
            .filter(|address| *address != 0)
            .find(|address| bytes(memory, *address, HEADER_LEN).is_some_and(|header| name_in(header) == name))
            .ok_or(AcpiTablesError::Missing { table: name })
    }

    pub(super) fn table(&self) -> &Table<'m> {
        &self.table
    }

    /// A revision of the RSDP that has lists of this kind.
    pub(super) fn revision(&self) -> u8 {
        if self.entry_len == 4 { 0 } else { 2 }
    }

    fn addresses(&self) -> impl Iterator<Item = u64> {
        self.table.body().chunks_exact(self.entry_len).map(|entry| u64_at(entry, 0))
    }
}
