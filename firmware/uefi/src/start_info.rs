//! What the kernel is told: `hvm_start_info` of the PVH boot protocol (Xen's public header `arch-x86/hvm/start_info.h`), version 1.

use uefi::system::with_config_table;
use uefi::table::cfg::ConfigTableEntry;

/// `XEN_HVM_START_MAGIC_VALUE`.
const MAGIC: u32 = 0x336e_c578;
/// The version with a memory map.
const VERSION: u32 = 1;

/// `hvm_start_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    module_count: u32,
    modules: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_len: u32,
    reserved: u32,
}

impl StartInfo {
    /// With the physical addresses of the command line, of the RSDP (0: none) and of a memory map of so many entries.
    pub(crate) const fn new(command_line: u64, rsdp: u64, memory_map: u64, memory_map_len: u32) -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            flags: 0,
            module_count: 0,
            modules: 0,
            command_line,
            rsdp,
            memory_map,
            memory_map_len,
            reserved: 0,
        }
    }
}

/// What a range of memory is: `XEN_HVM_MEMMAP_TYPE_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Type {
    /// For the kernel.
    Ram = 1,
    /// The firmware's or a device's.
    Reserved = 2,
    /// ACPI tables.
    AcpiTables = 3,
    /// Of ACPI, and to be kept.
    AcpiNvs = 4,
    /// With errors.
    Unusable = 5,
    /// Keeps its content without power.
    Persistent = 7,
}

/// `hvm_memmap_table_entry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct MapEntry {
    pub(crate) address: u64,
    pub(crate) len_bytes: u64,
    pub(crate) kind: Type,
    reserved: u32,
}

impl MapEntry {
    /// An entry.
    pub(crate) const fn new(address: u64, len_bytes: u64, kind: Type) -> Self {
        Self { address, len_bytes, kind, reserved: 0 }
    }
}

/// The physical address of the RSDP, that of ACPI 2.0 if there is one (UEFI specification 4.6); 0 if there is none.
pub(crate) fn rsdp() -> u64 {
    with_config_table(|tables| {
        let of =
            |guid| tables.iter().find(|table| table.guid == guid).map(|table| table.address.addr() as u64);
        of(ConfigTableEntry::ACPI2_GUID).or_else(|| of(ConfigTableEntry::ACPI_GUID)).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn fields_are_where_pvh_has_them() {
        assert_eq!(
            [
                offset_of!(StartInfo, module_count),
                offset_of!(StartInfo, modules),
                offset_of!(StartInfo, command_line),
                offset_of!(StartInfo, rsdp),
                offset_of!(StartInfo, memory_map),
                offset_of!(StartInfo, memory_map_len),
                size_of::<StartInfo>(),
            ],
            [12, 16, 24, 32, 40, 48, 56]
        );
        assert_eq!(
            [offset_of!(MapEntry, len_bytes), offset_of!(MapEntry, kind), size_of::<MapEntry>()],
            [8, 16, 24]
        );
        let info = StartInfo::new(1, 2, 3, 4);
        assert_eq!((info.command_line, info.rsdp, info.memory_map, info.memory_map_len), (1, 2, 3, 4));
    }
}
