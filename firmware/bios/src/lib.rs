//! The BIOS loader: 16-bit code for a disk's boot sectors that loads a kernel, checks it, and enters it by PVH.
//!
//! The code is assembled with this crate, for the host, as data ([`boot_code`], [`stage`]); the program that writes a disk
//! image copies it there. What it shall load it reads from the disk's [header](image_header). The same constants go into both.

use image_header::BLOCK_LEN;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the loader's code is assembled for x86, so this crate needs a host that is x86-64");

/// Most bytes of code in a boot sector: the disk's signature and partitions follow (UEFI specification 5.2.1).
pub const BOOT_CODE_LEN: usize = 440;

/// Blocks of a CD's sector. All that the loader reads from a CD begins with one.
pub const CD_SECTOR_BLOCKS: u32 = 4;

/// What lies in the first kibibyte of the code in memory: the boot sector, and room for the header.
const FIRST_STAGE_LEN: usize = 2 * BLOCK_LEN;

mod assembly {
    use core::arch::global_asm;
    use guest_interface::{layout, ports, status::KernelStatus};
    use image_header as header;

    /// Where the BIOS puts what it reads; 32 KiB that end below the command line.
    const BOUNCE: u64 = 0x1_0000;
    const _: () = assert!(BOUNCE + 0x8000 <= layout::COMMAND_LINE);

    const MAP_END_MAX: u64 = layout::MEMORY_MAP + 24 * layout::MEMORY_MAP_ENTRIES_MAX as u64;
    const _: () = assert!(MAP_END_MAX <= 0x7c00, "the boot sector");

    global_asm!(
        ".pushsection .rodata.freehold_bios_loader, \"a\", @progbits",
        ".globl freehold_bios_loader, freehold_bios_loader_end",
        "freehold_bios_loader:",
        include_str!("loader.s"),
        "freehold_bios_loader_end:",
        ".code64",
        ".popsection",
        serial = const ports::SERIAL,
        exit = const ports::EXIT,
        boot_failure = const KernelStatus::BootFailure.code(),
        start_info = const layout::START_INFO,
        memory_map = const layout::MEMORY_MAP,
        map_entries_max = const layout::MEMORY_MAP_ENTRIES_MAX,
        command_line = const layout::COMMAND_LINE,
        command_line_len_max = const layout::COMMAND_LINE_LEN_MAX,
        high_ram_start = const layout::HIGH_RAM_START,
        bounce = const BOUNCE,
        boot_code_len = const super::BOOT_CODE_LEN,
        header_block = const header::HEADER_BLOCK,
        magic_start = const header::MAGIC_START,
        version = const header::VERSION,
        header_version = const header::offset::VERSION,
        header_stage_crc = const header::offset::STAGE_CRC,
        header_entry = const header::offset::ENTRY,
        header_command_line_block = const header::offset::COMMAND_LINE_BLOCK,
        header_command_line_len = const header::offset::COMMAND_LINE_LEN,
        header_command_line_crc = const header::offset::COMMAND_LINE_CRC,
        header_segment_count = const header::offset::SEGMENT_COUNT,
        header_segments = const header::offset::SEGMENTS,
        segment_len = const header::SEGMENT_LEN,
        segments_max = const header::SEGMENTS_MAX,
        header_crc = const header::offset::CRC,
        options(att_syntax)
    );
}

// SAFETY: the assembly above defines both as labels of bytes that nobody writes; only their addresses are taken.
unsafe extern "C" {
    static freehold_bios_loader: u8;
    static freehold_bios_loader_end: u8;
}

/// All of the loader as it lies in memory from 0x7c00 on, with a gap for the header.
fn code() -> &'static [u8] {
    let (start, end) = (&raw const freehold_bios_loader, &raw const freehold_bios_loader_end);
    // SAFETY: both symbols are in one section of initialized read-only data, the first where the code starts, the second where
    // it ends; nothing is written there.
    unsafe { core::slice::from_raw_parts(start, end.addr() - start.addr()) }
}

/// The code of the boot sector: all that may be in front of the disk's signature.
#[must_use]
pub fn boot_code() -> [u8; BOOT_CODE_LEN] {
    let mut bytes = [0; BOOT_CODE_LEN];
    bytes.copy_from_slice(&code()[..BOOT_CODE_LEN]);
    bytes
}

/// The same for a CD that is booted by El Torito without emulation: the BIOS counts sectors of 2048 bytes, [`CD_SECTOR_BLOCKS`].
#[must_use]
pub fn cd_boot_code() -> [u8; BOOT_CODE_LEN] {
    let mut bytes = boot_code();
    bytes[BOOT_CODE_LEN - 1] = CD_SECTOR_BLOCKS.trailing_zeros() as u8;
    bytes
}

/// The second stage, whole blocks.
#[must_use]
pub fn stage() -> &'static [u8] {
    &code()[FIRST_STAGE_LEN..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_in_its_places() {
        assert_eq!(boot_code()[..2], [0xfa, 0xfc], "cli, cld");
        assert!(code()[BOOT_CODE_LEN..FIRST_STAGE_LEN].iter().all(|byte| *byte == 0));
        assert!(stage().len().is_multiple_of(BLOCK_LEN));
        // One call of the BIOS reads it, to 0x8000, and it ends below what the kernel is given.
        assert!((1..=16).contains(&(stage().len() / BLOCK_LEN)), "{}", stage().len());
        assert_eq!(stage()[0], 0xe8, "a call");
    }

    #[test]
    fn a_cds_boot_sector_differs_in_the_length_of_sectors_alone() {
        let (disk, cd) = (boot_code(), cd_boot_code());
        assert_eq!((disk[BOOT_CODE_LEN - 1], cd[BOOT_CODE_LEN - 1]), (0, 2));
        assert_eq!(disk[..BOOT_CODE_LEN - 1], cd[..BOOT_CODE_LEN - 1]);
    }
}
