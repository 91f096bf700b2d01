//! Out of the firmware's 64-bit mode, the kernel into its place, and into the kernel as PVH wants it: 32-bit flat segments, CR0
//! with PE and ET alone, CR4 0, interrupts off, EBX at the start info.

use core::arch::{asm, global_asm};
use image_header::SEGMENTS_MAX;

/// What this loader's last code does. A list that it reads.
#[repr(C)]
pub(crate) struct Orders {
    /// Physical address of the start info.
    pub(crate) start_info: u32,
    /// Physical address of the kernel's PVH entry.
    pub(crate) kernel_entry: u32,
    /// What it moves; the first with destination 0 ends the list.
    pub(crate) moves: [Move; SEGMENTS_MAX + 1],
}

impl Orders {
    pub(crate) const NONE: Self = Self { start_info: 0, kernel_entry: 0, moves: [Move::NONE; _] };
}

/// A segment that goes to its place. Addresses are physical.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Move {
    /// Where it goes.
    pub(crate) destination: u32,
    /// Where it is.
    pub(crate) source: u32,
    /// How much of it there is.
    pub(crate) len_bytes: u32,
    /// How much is cleared behind that.
    pub(crate) cleared_len_bytes: u32,
}

impl Move {
    const NONE: Self = Self { destination: 0, source: 0, len_bytes: 0, cleared_len_bytes: 0 };
}

/// Nothing, flat 32-bit code, flat data; all of 4 GiB at privilege level 0.
pub(crate) const GDT: [u64; 3] = [0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
const CODE_SELECTOR: u64 = 8;
const DATA_SELECTOR: u64 = 16;

/// Most bytes that [`code`] has.
pub(crate) const CODE_LEN_MAX: usize = 128;

/// The physical addresses, below 4 GiB, of what [`kernel`] needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// [`code`].
    pub(crate) code: u32,
    /// [`GDT`].
    pub(crate) gdt: u32,
    /// [`Orders`].
    pub(crate) orders: u32,
}

/// CR4 bits that can't be changed in 64-bit mode: PAE, and 5-level paging.
const CR4_OF_LONG_MODE: u64 = 1 << 5 | 1 << 12;

// Runs at any address below 4 GiB that is mapped one to one; EDI points to the orders. Needs no stack, and reads and writes memory
// only once paging is off and segments are its own. CR4 comes behind paging, as without PAE there is no 64-bit mode to leave; the
// rest of CR0 behind that, as write protection can't go before control-flow enforcement.
global_asm!(
    ".code32",
    ".globl freehold_enter, freehold_enter_end",
    "freehold_enter:",
    "mov eax, cr0",
    "and eax, 0x7fffffff",
    "mov cr0, eax",
    "mov ecx, 0xc0000080", // EFER: no long mode
    "rdmsr",
    "and eax, 0xfffffeff",
    "wrmsr",
    "xor eax, eax",
    "mov cr4, eax",
    "mov al, 0x11",
    "mov cr0, eax",
    "mov eax, {data}",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "cld",
    "mov ebx, [edi]",
    "mov ebp, [edi + 4]",
    "lea edx, [edi + 8]",
    "2:",
    "mov edi, [edx]",
    "test edi, edi",
    "jz 3f",
    "mov esi, [edx + 4]",
    "mov ecx, [edx + 8]",
    "rep movsb",
    "mov ecx, [edx + 12]",
    "xor eax, eax",
    "rep stosb",
    "add edx, {move_len}",
    "jmp 2b",
    "3:",
    "jmp ebp",
    "freehold_enter_end:",
    ".code64",
    data = const DATA_SELECTOR,
    move_len = const size_of::<Move>(),
);

// SAFETY: the assembly above defines both as labels of bytes that nobody writes; only their addresses are taken.
unsafe extern "C" {
    static freehold_enter: u8;
    static freehold_enter_end: u8;
}

/// The last code, which runs where it is copied to.
pub(crate) fn code() -> &'static [u8] {
    let (start, end) = (&raw const freehold_enter, &raw const freehold_enter_end);
    // SAFETY: both symbols are in one section of code, the first where it starts, the second where it ends.
    unsafe { core::slice::from_raw_parts(start, end.addr() - start.addr()) }
}

/// Where the GDT is, as `lgdt` reads it.
#[repr(C, packed)]
struct GdtPointer {
    limit: u16,
    address: u64,
}

/// Enters the kernel.
///
/// # Safety
/// Boot services are gone. What `entry` points to is complete, is mapped one to one and executable, and no order overwrites it;
/// destinations are free.
pub(crate) unsafe fn kernel(entry: Entry) -> ! {
    let gdt = GdtPointer { limit: size_of_val(&GDT) as u16 - 1, address: entry.gdt.into() };
    // SAFETY: nothing comes back, so registers, stack and firmware tables may be lost. Interrupts are off before the tables that
    // serve them are. What of CR4 goes here is not needed for running where this runs. The code behind the far return keeps to
    // the caller's promises.
    unsafe {
        asm!(
            "cli",
            "mov rax, cr4",
            "and rax, {cr4}",
            "mov cr4, rax",
            "lgdt [rdx]",
            "push {selector}",
            "push rcx",
            "retfq",
            cr4 = const CR4_OF_LONG_MODE,
            in("rdx") &raw const gdt,
            selector = const CODE_SELECTOR,
            in("rcx") u64::from(entry.code),
            in("rdi") u64::from(entry.orders),
            options(noreturn),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_code_has_room() {
        assert!((40..=CODE_LEN_MAX).contains(&code().len()), "{}", code().len());
    }
}
