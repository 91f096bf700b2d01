//! The UEFI loader, `\EFI\BOOT\BOOTX64.EFI` of a disk image: loads the kernel from the same partition, checks it, and enters it
//! by PVH as the BIOS loader does. [`boot`] reads as the boot sequence.
//!
//! | module | what it is about |
//! |---|---|
//! | [`files`] | the files of the image on the EFI system partition |
//! | [`segments`] | where the kernel's parts are in its file and in memory |
//! | [`memory_map`] | what memory is free, and the map that the kernel is given |
//! | [`staging`] | the block of memory that the kernel is gathered in |
//! | [`start_info`] | what the kernel is told |
//! | [`enter`] | out of 64-bit mode, the kernel into its place, and into it |
//! | [`failure`] | what can go wrong, and how it ends |
//! | [`console`] | where that is said |
//!
//! A kernel has fixed addresses, and firmware may well have put something of its own there. So its segments are gathered in a
//! block elsewhere, and checked there. The loader refuses if anything that has to stay lies where they belong; boot services,
//! drivers and the loader itself do not have to: they are gone once boot services are, and only then the last code of all, which
//! is in that block too, moves the segments into their places, without paging and without a stack. There is one way for every
//! machine, so each boot tests it.
//!
//! Everything builds for a host as well, for its tests.
#![cfg_attr(target_os = "uefi", no_std, no_main)]

mod console;
mod enter;
mod failure;
mod files;
mod memory_map;
mod segments;
mod staging;
mod start_info;

use core::convert::Infallible;
use failure::Failure;
use files::{COMMAND_LINE, Files, HEADER, KERNEL};
use image_header::{BLOCK_LEN, Header};
use staging::Staging;
use uefi::mem::memory_map::MemoryMap;
use uefi::{Status, entry};

#[entry]
fn start() -> Status {
    match boot() {
        Ok(never) => match never {},
        Err(failure) => failure::end(&failure),
    }
}

/// The boot sequence.
fn boot() -> Result<Infallible, Failure> {
    let mut files = Files::of_this_application()?;
    let mut block = [0; BLOCK_LEN];
    files.read_whole(HEADER, &mut block, Failure::HeaderDamaged)?;
    let header = Header::decode(&block)?;
    let segments = segments::plan(&header)?;

    let map = memory_map::current()?;
    for segment in &segments {
        memory_map::check_place(map.entries(), &segment.place())?;
    }
    let mut staging = Staging::allocate(map.entries(), &segments)?;
    drop(map);

    let command_line = staging.command_line(header.command_line_len);
    files.read_whole(COMMAND_LINE, command_line, Failure::CommandLineDamaged)?;
    if crc32fast::hash(command_line) != header.command_line_crc {
        return Err(Failure::CommandLineDamaged);
    }
    let mut kernel = files.open(KERNEL, header.kernel_len.into(), Failure::KernelDamaged)?;
    for (index, segment) in segments.iter().enumerate() {
        let bytes = staging.segment(index);
        kernel.read(segment.file_offset, bytes)?;
        if crc32fast::hash(bytes) != segment.crc {
            return Err(Failure::KernelDamaged);
        }
    }
    drop((kernel, files));

    let rsdp = start_info::rsdp();
    memory_map::check_length()?;
    // SAFETY: files and the first map are dropped, nothing else of boot services is held; from here on only the serial port says
    // anything.
    let map = unsafe { memory_map::exit_boot_services() };
    for segment in &segments {
        memory_map::check_place(map.entries(), &segment.place())?;
    }
    let map = memory_map::translate(map.entries())?;
    let entry = staging.hand_over(header.entry, &segments, rsdp, &map);
    // SAFETY: boot services are gone, and no place of a segment holds anything that has to stay, by the final map. The block is
    // another one, and holds what `Staging` promises.
    unsafe { enter::kernel(entry) }
}

#[cfg(not(target_os = "uefi"))]
fn main() {
    eprintln!("uefi-loader is started by UEFI firmware; build it with --target x86_64-unknown-uefi");
    std::process::exit(1);
}
