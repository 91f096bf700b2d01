//! Instructions that raise exceptions, and processors that do nothing of use.

use alloc::string::String;
use core::arch::asm;
use unikernel::ApplicationStatus;
use x86::dtables::{DescriptorTablePointer, lidt};

use crate::survived;

/// Never ends: the VMM's time limit does, with status 113.
#[inline(never)]
pub(crate) fn spin(_: &[String]) -> ApplicationStatus {
    loop {
        core::hint::spin_loop();
    }
}

/// Ends with the VMM's status 118 where the VMM sees it, else with 113 after its time limit.
#[inline(never)]
pub(crate) fn halt(_: &[String]) -> ApplicationStatus {
    // SAFETY: nothing waits for an interrupt, and nothing runs afterwards.
    unsafe {
        x86::irq::disable();
        x86::halt();
    }
    survived()
}

/// Ends with the VMM's status 112.
#[inline(never)]
pub(crate) fn triple_fault(_: &[String]) -> ApplicationStatus {
    // SAFETY: an empty table lets the processor deliver nothing, which is what is wanted; no code runs afterwards.
    unsafe {
        lidt(&DescriptorTablePointer::<u64> { limit: 0, base: core::ptr::null() });
        asm!("ud2", options(noreturn));
    }
}

/// Ends with status 97, a divide error.
#[inline(never)]
pub(crate) fn divide(_: &[String]) -> ApplicationStatus {
    // SAFETY: the kernel reports the fault and never comes back.
    unsafe {
        asm!("div {0:e}", in(reg) 0, inout("eax") 1 => _, inout("edx") 0 => _, options(nomem, nostack))
    };
    survived()
}

/// Ends with status 97, an invalid opcode.
#[inline(never)]
pub(crate) fn invalid_opcode(_: &[String]) -> ApplicationStatus {
    // SAFETY: the kernel reports the fault and never comes back.
    unsafe { asm!("ud2", options(noreturn)) };
}

/// Ends with status 97, a breakpoint.
#[inline(never)]
pub(crate) fn breakpoint(_: &[String]) -> ApplicationStatus {
    // SAFETY: the kernel reports the exception and never comes back.
    unsafe { asm!("int3", options(nomem, nostack)) };
    survived()
}
