//! Accesses that the page tables forbid, and memory that runs out.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::arch::asm;
use core::hint::black_box;
use unikernel::ApplicationStatus;

use crate::survived;

/// The instruction `ret`.
const RETURN: u8 = 0xc3;

/// Reads a byte that may be anywhere. Assembly, since to Rust such a read is undefined behaviour.
fn read(address: u64) {
    // SAFETY: reading changes nothing; the tests judge the fault that follows.
    unsafe { asm!("mov {}, byte ptr [{}]", out(reg_byte) _, in(reg) address, options(nostack, readonly)) };
}

/// Writes a byte that may be anywhere.
fn write(address: u64) {
    // SAFETY: the tests judge the fault that follows. Were there none, the caller's memory is never used again.
    unsafe { asm!("mov byte ptr [{}], 0", in(reg) address, options(nostack)) };
}

/// Calls what may be no code.
fn call(address: u64) {
    // SAFETY: the tests judge the fault that follows. Were there none, what is called returns at once.
    unsafe { asm!("call {}", in(reg) address, clobber_abi("C")) };
}

/// Ends with status 97, a fault at the null page.
#[inline(never)]
pub(crate) fn null_read(_: &[String]) -> ApplicationStatus {
    read(black_box(0x10));
    survived()
}

/// Ends with status 97, a write to kernel text.
#[inline(never)]
pub(crate) fn write_text(_: &[String]) -> ApplicationStatus {
    write(black_box(null_read as *const () as u64));
    survived()
}

/// Ends with status 97, a write to read-only data.
#[inline(never)]
pub(crate) fn write_rodata(_: &[String]) -> ApplicationStatus {
    static WORD: u64 = 0x5eed_5eed_5eed_5eed;
    write(black_box(&raw const WORD as u64));
    survived()
}

/// Ends with status 97, an execution of the heap.
#[inline(never)]
pub(crate) fn jump_heap(_: &[String]) -> ApplicationStatus {
    let code = black_box(Box::new([RETURN; 16]));
    call(code.as_ptr() as u64);
    survived()
}

/// Ends with status 97, an execution of the stack.
#[inline(never)]
pub(crate) fn jump_stack(_: &[String]) -> ApplicationStatus {
    let code = black_box([RETURN; 16]);
    call(code.as_ptr() as u64);
    survived()
}

/// Ends with status 98, a stack overflow.
#[inline(never)]
pub(crate) fn stack_overflow(_: &[String]) -> ApplicationStatus {
    black_box(recurse(black_box(1)));
    survived()
}

/// Calls itself for ever; what is done after the call keeps it from becoming a loop.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if depth == 0 {
        return 0;
    }
    recurse(depth + 1) + black_box(frame)[0]
}

/// Ends with status 99, out of memory.
#[inline(never)]
pub(crate) fn allocate_forever(_: &[String]) -> ApplicationStatus {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    loop {
        blocks.push(black_box(Vec::with_capacity(1 << 20)));
    }
}
