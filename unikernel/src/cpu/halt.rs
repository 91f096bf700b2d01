//! Halting until an interrupt comes, without missing one.
//!
//! Between the check that there is nothing to do and `hlt`, interrupts are masked; an interrupt that comes in between has to
//! end the halt. At ring 0 the processor sees to that: no interrupt comes between `sti` and the instruction behind it. On PVM
//! both are traps that the host emulates, and one may come there. So a handler that has interrupted just in front of the
//! `hlt` [returns behind it](behind_halt), on every host, since that costs a comparison.

use super::exceptions::ExceptionFrame;

/// Length of `hlt` in bytes.
#[cfg(target_os = "none")]
const HALT_LEN: u64 = 1;

#[cfg(target_os = "none")]
core::arch::global_asm!(
    ".section .text.unmask_and_halt, \"ax\", @progbits",
    ".code64",
    ".type unmask_and_halt, @function",
    ".globl unmask_and_halt",
    ".globl unmask_and_halt.halt",
    "unmask_and_halt:",
    "push rbp",
    "mov rbp, rsp",
    "sti",
    "unmask_and_halt.halt:",
    "hlt",
    "pop rbp",
    "ret",
    ".size unmask_and_halt, . - unmask_and_halt",
);

// SAFETY: the labels above; the first takes and gives nothing, of the second only the address is taken.
#[cfg(target_os = "none")]
unsafe extern "C" {
    #[link_name = "unmask_and_halt"]
    fn enter_halt();
    #[link_name = "unmask_and_halt.halt"]
    static HALT: u8;
}

/// Unmasks interrupts and halts until one has been handled.
///
/// # Safety
/// Interrupts are masked by the processor, and need not be: nobody relies on it.
#[cfg(target_os = "none")]
pub(super) unsafe fn unmask_and_halt() {
    // SAFETY: the caller's promise; the function keeps all registers.
    unsafe { enter_halt() };
}

/// Makes a handler that has interrupted in front of the halt return behind it.
#[cfg(target_os = "none")]
pub(super) fn behind_halt(frame: &mut ExceptionFrame) {
    if frame.rip == &raw const HALT as u64 {
        frame.rip += HALT_LEN;
    }
}

/// On the host nothing halts: the tests there have no interrupts.
///
/// # Safety
/// None is needed; the signature is that of the guest's.
#[cfg(not(target_os = "none"))]
pub(super) unsafe fn unmask_and_halt() {}

#[cfg(not(target_os = "none"))]
pub(super) fn behind_halt(_: &mut ExceptionFrame) {}
