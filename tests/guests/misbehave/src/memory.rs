//! Accesses that the page tables forbid, and memory that runs out.

use alloc::string::String;
use alloc::vec::Vec;
use core::arch::asm;
use core::hint::black_box;
use unikernel::heap::{AfterFailure, set_out_of_memory_handler};
use unikernel::{ApplicationStatus, println};

use crate::place::{PLACES, address_of};
use crate::survived;

/// Has something done at the place that the argument names.
pub(crate) fn at_place(arguments: &[String], act: fn(u64)) -> ApplicationStatus {
    let Some(address) = arguments.first().and_then(|name| address_of(name)) else {
        let names: Vec<&str> = PLACES.iter().map(|(name, _)| *name).collect();
        println!("misbehave: give a place, one of {}", names.join(", "));
        return ApplicationStatus::USAGE;
    };
    println!("misbehave: at {address:#x}");
    act(black_box(address));
    survived()
}

/// Reads a byte. Assembly, since to Rust such a read is undefined behaviour.
#[inline(never)]
pub(crate) fn read(address: u64) {
    // SAFETY: reading changes nothing; the tests judge the fault that follows.
    unsafe { asm!("mov {}, byte ptr [{}]", out(reg_byte) _, in(reg) address, options(nostack, readonly)) };
}

/// Writes a byte.
#[inline(never)]
pub(crate) fn write(address: u64) {
    // SAFETY: the tests judge the fault that follows. Were there none, the place is used by nobody before the end.
    unsafe { asm!("mov byte ptr [{}], 0", in(reg) address, options(nostack)) };
}

/// Calls what is no code.
#[inline(never)]
pub(crate) fn call(address: u64) {
    // SAFETY: the tests judge the fault that follows.
    unsafe { asm!("call {}", in(reg) address, clobber_abi("C")) };
}

/// Takes the place for a stack, and pushes words for ever.
#[inline(never)]
pub(crate) fn push(address: u64) {
    // SAFETY: the tests judge the fault that follows, after which nothing needs the stack or what lies below it.
    unsafe { asm!("mov rsp, {}", "2:", "push rax", "jmp 2b", in(reg) address, options(noreturn)) };
}

/// Ends with status 98, a stack overflow.
#[inline(never)]
pub(crate) fn stack_overflow(_: &[String]) -> ApplicationStatus {
    black_box(recurse(black_box(1)));
    survived()
}

/// Ends with status 98, too: one frame is larger than the stack, and does not reach the memory below the guard page.
#[inline(never)]
pub(crate) fn large_frame(_: &[String]) -> ApplicationStatus {
    let frame = black_box([0x5a_u8; 1 << 20]);
    black_box(&frame);
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

/// Ends with status 99 and the size of the block, too, though a handler has failed at something else in between.
#[inline(never)]
pub(crate) fn fail_in_handler(_: &[String]) -> ApplicationStatus {
    set_out_of_memory_handler(Some(|_| {
        let refused = Vec::<u8>::new().try_reserve_exact(1 << 45);
        println!("misbehave: the handler has {refused:?}");
        AfterFailure::Fail
    }));
    black_box(Vec::<u8>::with_capacity(1 << 40));
    survived()
}

/// Ends with status 99, out of memory.
#[inline(never)]
pub(crate) fn allocate_forever(_: &[String]) -> ApplicationStatus {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    loop {
        blocks.push(black_box(Vec::with_capacity(1 << 20)));
    }
}
