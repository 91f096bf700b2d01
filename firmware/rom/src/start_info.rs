//! What PVH hands to a kernel: `hvm_start_info` of version 1 and the list of modules (Xen's public header
//! `arch-x86/hvm/start_info.h`).

use guest_interface::host_information;
use guest_interface::layout::{COMMAND_LINE, HOST_INFORMATION, MEMORY_MAP, MODULE_LIST};

/// `XEN_HVM_START_MAGIC_VALUE`.
const MAGIC: u32 = 0x336e_c578;
/// Version 1 added the memory map.
const VERSION: u32 = 1;

/// `hvm_start_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_len: u32,
    reserved: u32,
}
const _: () = assert!(size_of::<StartInfo>() == 56);

/// The list of modules: one `hvm_modlist_entry`, the host information, and behind it the module's name with its NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modules {
    address: u64,
    len: u64,
    name_address: u64,
    reserved: u64,
    name: [u8; host_information::MODULE_NAME.len() + 1],
}

impl StartInfo {
    /// Says where in low memory everything is. No RSDP: the ROM has no ACPI tables, and a kernel that wants some looks where a
    /// BIOS has them.
    #[must_use]
    pub const fn new(memory_map_len: usize, modules: u32) -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            flags: 0,
            modules,
            module_list: if modules == 0 { 0 } else { MODULE_LIST },
            command_line: COMMAND_LINE,
            rsdp: 0,
            memory_map: MEMORY_MAP,
            memory_map_len: memory_map_len as u32,
            reserved: 0,
        }
    }
}

impl Modules {
    /// The list.
    #[must_use]
    pub fn new() -> Self {
        let mut name = [0; host_information::MODULE_NAME.len() + 1];
        name[..host_information::MODULE_NAME.len()].copy_from_slice(host_information::MODULE_NAME.as_bytes());
        Self {
            address: HOST_INFORMATION,
            len: host_information::LEN as u64,
            name_address: MODULE_LIST + core::mem::offset_of!(Self, name) as u64,
            reserved: 0,
            name,
        }
    }
}

impl Default for Modules {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn fields_are_where_the_header_has_them() {
        assert_eq!(offset_of!(StartInfo, modules), 12);
        assert_eq!(offset_of!(StartInfo, command_line), 24);
        assert_eq!(offset_of!(StartInfo, rsdp), 32);
        assert_eq!(offset_of!(StartInfo, memory_map), 40);
        assert_eq!(offset_of!(StartInfo, memory_map_len), 48);
        assert_eq!(offset_of!(Modules, name_address), 16);
        assert_eq!(offset_of!(Modules, name), 32);
    }

    #[test]
    fn without_modules_there_is_no_list() {
        assert_eq!(StartInfo::new(3, 0).module_list, 0);
        assert_eq!(StartInfo::new(3, 1).module_list, MODULE_LIST);
        assert_eq!(StartInfo::new(3, 1).memory_map_len, 3);
        assert_eq!(Modules::new().name, *b"freehold.host\0");
        assert_eq!(Modules::new().name_address, MODULE_LIST + 32);
    }
}
