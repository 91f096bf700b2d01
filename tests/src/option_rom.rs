//! A BIOS with another memory map than SeaBIOS has: an option ROM for QEMU.

use core::arch::global_asm;
use std::ops::Range;

global_asm!(
    ".pushsection .rodata.option_rom, \"a\", @progbits",
    ".globl freehold_option_rom, freehold_option_rom_end",
    "freehold_option_rom:",
    include_str!("option_rom.s"),
    "freehold_option_rom_end:",
    ".code64",
    ".popsection",
    options(att_syntax)
);

// SAFETY: the assembly above defines both as labels of bytes that nobody writes; only their addresses are taken.
unsafe extern "C" {
    static freehold_option_rom: u8;
    static freehold_option_rom_end: u8;
}

/// Bytes of the ROM, as its third byte says.
const LEN: usize = 1024;

/// E820 types (ACPI specification, 15.1).
pub const RAM: u32 = 1;
/// What nobody may use.
pub const RESERVED: u32 = 2;

/// The ROM of a BIOS that tells these ranges, each with its E820 type. `None` for more than fit.
#[must_use]
pub fn with_memory_map(ranges: &[(Range<u64>, u32)]) -> Option<Vec<u8>> {
    let (start, end) = (&raw const freehold_option_rom, &raw const freehold_option_rom_end);
    // SAFETY: both symbols are in one section of initialized read-only data, the first where the code starts, the second where it
    // ends; nothing is written there.
    let code = unsafe { core::slice::from_raw_parts(start, end.addr() - start.addr()) };
    let mut rom = code.to_vec();
    let table_len = u16::try_from(ranges.len() * 20).ok()?;
    rom[code.len() - 2..].copy_from_slice(&table_len.to_le_bytes());
    for (range, kind) in ranges {
        rom.extend(range.start.to_le_bytes());
        rom.extend((range.end - range.start).to_le_bytes());
        rom.extend(kind.to_le_bytes());
    }
    (rom.len() < LEN).then_some(())?;
    rom.resize(LEN, 0);
    // All bytes together make 0.
    rom[LEN - 1] = rom.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    Some(rom)
}
