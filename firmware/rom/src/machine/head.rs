//! The way in and the way out, both in head.s.

use core::arch::global_asm;
use freehold_rom::low_memory;
use guest_interface::layout::START_INFO;

/// Bytes of the head; the linker script has the same number, and checks it.
const HEAD_LEN: u32 = 0x5000;

global_asm!(
    ".pushsection .head, \"ax\", @progbits",
    include_str!("head.s"),
    ".popsection",
    head_len = const HEAD_LEN,
    stack = const low_memory::STACK,
    options(att_syntax)
);

/// Leaves the ROM for a kernel's PVH entry.
pub(super) fn enter(entry: u32) -> ! {
    // SAFETY: head.s defines it, with two 32-bit arguments, and it does not come back.
    unsafe extern "C" {
        fn freehold_rom_enter(entry: u32, start_info: u32) -> !;
    }
    // SAFETY: it never returns, and what runs then is no longer this program's: whatever the kernel
    // does to memory, nothing here reads it again.
    unsafe { freehold_rom_enter(entry, START_INFO as u32) }
}
