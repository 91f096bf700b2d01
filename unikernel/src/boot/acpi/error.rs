//! What can be wrong with ACPI tables.

use core::fmt;

/// Four letters that name a table: its signature, if it has one of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableName(pub(super) [u8; 4]);

impl TableName {
    pub(super) const RSDP: Self = Self(*b"RSDP");
    pub(super) const RSDT: Self = Self(*b"RSDT");
    pub(super) const XSDT: Self = Self(*b"XSDT");
    /// Its name in prose is FADT.
    pub(super) const FADT: Self = Self(*b"FACP");
    /// Its name in prose is MADT.
    pub(super) const MADT: Self = Self(*b"APIC");
    pub(super) const DSDT: Self = Self(*b"DSDT");
}

impl fmt::Display for TableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0.escape_ascii())
    }
}

/// Why ACPI tables can't be used. All addresses are physical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcpiTablesError {
    /// It does not lie in memory that may hold firmware tables.
    Unreadable { table: TableName, address: u64, len_bytes: u32 },
    /// Not even the header of a table in the list of tables lies in such memory.
    ListedUnreadable { list: TableName, index: usize, address: u64 },
    /// Something else is there.
    NotThere { table: TableName, address: u64 },
    /// It says a length that it can't have.
    Length { table: TableName, address: u64, len_bytes: u32, min: u32, max: u32 },
    /// Its bytes do not add up to zero.
    Checksum { table: TableName, address: u64 },
    /// The maker's names in its header are not text.
    NotUtf8 { table: TableName, address: u64 },
    /// A list whose length is not that of whole entries.
    CutList { list: TableName, address: u64, len_bytes: u32 },
    /// A list of more tables than the kernel looks through.
    TooManyTables { list: TableName, address: u64, tables: usize, max: usize },
    /// The list of tables has no such one.
    Missing { table: TableName },
    /// The address of an entry of the MADT, the length it says, and between which ones that must be.
    MadtEntry { address: u64, kind: u8, len_bytes: u8, min: usize, max: usize },
    /// A length of PM1 control registers that no FADT can say.
    Pm1ControlLength { address: u64, len_bytes: u8 },
    /// The `acpi` crate found something else wrong.
    Refused { table: TableName, address: u64 },
}

impl fmt::Display for AcpiTablesError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ACPI tables are wrong, the VMM has to mend them: ")?;
        match self {
            Self::Unreadable { table, address, len_bytes } => {
                write!(formatter, "{table}, {len_bytes} bytes at {address:#x}, is not in firmware memory")
            }
            Self::ListedUnreadable { list, index, address } => {
                write!(
                    formatter,
                    "entry {index} of {list} says {address:#x}, which is not in firmware memory"
                )
            }
            Self::NotThere { table, address } => write!(formatter, "there is no {table} at {address:#x}"),
            Self::Length { table, address, len_bytes, min, max } => {
                write!(formatter, "{table} at {address:#x} is {len_bytes} bytes long, not {min} to {max}")
            }
            Self::Checksum { table, address } => {
                write!(formatter, "the checksum of {table} at {address:#x} is wrong")
            }
            Self::NotUtf8 { table, address } => {
                write!(formatter, "the OEM names of {table} at {address:#x} are not UTF-8")
            }
            Self::CutList { list, address, len_bytes } => {
                write!(formatter, "{list} at {address:#x} ends within an entry, after {len_bytes} bytes")
            }
            Self::TooManyTables { list, address, tables, max } => {
                write!(
                    formatter,
                    "{list} at {address:#x} lists {tables} tables, the kernel looks through {max}"
                )
            }
            Self::Missing { table } => write!(formatter, "there is no {table}"),
            Self::MadtEntry { address, kind, len_bytes, min, max } => {
                write!(
                    formatter,
                    "the APIC entry of type {kind} at {address:#x} is {len_bytes} bytes long, not {min} to {max}"
                )
            }
            Self::Pm1ControlLength { address, len_bytes } => {
                write!(formatter, "FACP at {address:#x} has PM1 control registers of {len_bytes} bytes")
            }
            Self::Refused { table, address } => {
                write!(formatter, "{table} at {address:#x} can't be read")
            }
        }
    }
}

impl core::error::Error for AcpiTablesError {}
