//! Instructions that raise exceptions, and processors that do nothing of use.

use alloc::string::String;
use core::arch::asm;
use core::time::Duration;
use unikernel::cpu::timer::Timer;
use unikernel::{ApplicationStatus, println};
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
    // Its interrupt can't end a halt with interrupts masked.
    let _timer = Timer::after(Duration::from_secs(100), |_| (), 0);
    // SAFETY: nothing waits for an interrupt, and nothing runs afterwards.
    unsafe {
        x86::irq::disable();
        x86::halt();
    }
    survived()
}

/// Ends as [`halt`] does: interrupts may come, and none will.
#[inline(never)]
pub(crate) fn halt_unmasked(_: &[String]) -> ApplicationStatus {
    loop {
        // SAFETY: it only waits, and what an interrupt does is the kernel's.
        unsafe { x86::halt() };
    }
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

/// Ends with status 97, an interrupt that nothing has asked for. Needs registers of the local APIC that are MSRs.
#[inline(never)]
pub(crate) fn stray_interrupt(_: &[String]) -> ApplicationStatus {
    const VECTOR: u64 = 200;
    if !unikernel::cpu::features::local_apic().is_some_and(|features| features.x2apic) {
        println!("misbehave: this machine has no x2APIC");
        return ApplicationStatus::FAILURE;
    }
    // SAFETY: the kernel has enabled the local APIC in this mode. It reports the interrupt and never comes back.
    unsafe { x86::msr::wrmsr(x86::msr::IA32_X2APIC_SELF_IPI, VECTOR) };
    survived()
}

/// Ends with status 97, a breakpoint.
#[inline(never)]
pub(crate) fn breakpoint(_: &[String]) -> ApplicationStatus {
    // SAFETY: the kernel reports the exception and never comes back.
    unsafe { asm!("int3", options(nomem, nostack)) };
    survived()
}
