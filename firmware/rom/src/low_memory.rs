//! The memory below 1 MiB that the ROM works in: what the kernel is given, and buffers. The ROM has no variables but this
//! and its stack, which ends where this begins.

use crate::memory_map::{RANGES_MAX, Range};
use crate::start_info::{Modules, StartInfo};
use core::mem::offset_of;
use core::ops::{Deref, DerefMut};
use guest_interface::host_information;
use guest_interface::layout::{
    COMMAND_LINE, COMMAND_LINE_LEN_MAX, HOST_INFORMATION, LOW_RAM_END, MEMORY_MAP, MODULE_LIST, PAGE_LEN,
    START_INFO,
};
use image_header::BLOCK_LEN;

/// Where the memory that the ROM uses begins; the stack grows down to here.
pub const START: u64 = PAGE_LEN;
/// Where the stack starts, and [`LowMemory`] lies.
pub const STACK: u64 = START_INFO;
/// Where the memory that the ROM uses ends.
pub const END: u64 = STACK + size_of::<LowMemory>() as u64;

/// Bytes of the buffer for fw_cfg's directory: 127 files.
pub const DIRECTORY_LEN: usize = 2 * PAGE_LEN as usize;

/// Something that begins with a page.
#[repr(C, align(4096))]
pub struct Paged<T>(T);

impl<T> Deref for Paged<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Paged<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// What lies at [`STACK`]. Whatever bytes are there are a value of it.
#[repr(C)]
pub struct LowMemory {
    /// The start info, which leads to the fields that the kernel is given.
    pub start_info: Paged<StartInfo>,
    /// The kernel's memory map.
    pub memory_map: Paged<[Range; RANGES_MAX]>,
    /// The list of modules.
    pub modules: Paged<Modules>,
    /// The host information, if there is one.
    pub host_information: Paged<[u8; host_information::LEN]>,
    /// fw_cfg's directory.
    pub directory: Paged<[u8; DIRECTORY_LEN]>,
    /// fw_cfg's memory map.
    pub e820: Paged<[u8; RANGES_MAX * crate::memory_map::E820_LEN]>,
    /// The header of a disk image.
    pub header: Paged<[u8; BLOCK_LEN]>,
    unused: [u8; 0x1_2000],
    /// The kernel's command line.
    pub command_line: Paged<[u8; COMMAND_LINE_LEN_MAX]>,
}

const _: () = {
    assert!(STACK + offset_of!(LowMemory, start_info) as u64 == START_INFO);
    assert!(STACK + offset_of!(LowMemory, memory_map) as u64 == MEMORY_MAP);
    assert!(STACK + offset_of!(LowMemory, modules) as u64 == MODULE_LIST);
    assert!(STACK + offset_of!(LowMemory, host_information) as u64 == HOST_INFORMATION);
    assert!(STACK + offset_of!(LowMemory, command_line) as u64 == COMMAND_LINE);
    assert!(END <= LOW_RAM_END);
};

#[cfg(test)]
impl LowMemory {
    /// Memory as a machine may have it: full of something.
    pub(crate) fn dirty() -> Box<Self> {
        let mut memory = Box::<Self>::new_uninit();
        // SAFETY: all of the allocation is written, and any bytes are a value of it.
        unsafe {
            memory.as_mut_ptr().write_bytes(0xa5, 1);
            memory.assume_init()
        }
    }
}
