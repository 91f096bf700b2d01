//! Exceptions and interrupts: an entry for every vector, and the frame that the entries leave.
//!
//! An [interrupt](super::interrupts) that the kernel has asked for is handled, and so is the first access to a page of the
//! heap; what was interrupted goes on. Nothing survives any other vector: it ends in [`crate::diagnosis::fault`], which says
//! what happened and ends the machine.
//!
//! Vector registers are neither saved nor touched: the kernel is compiled without them.

use super::descriptors::VECTORS;
use super::host::Host;
use super::{interrupts, page_fault};
use crate::diagnosis::fault;
use x86::irq::PAGE_FAULT_VECTOR;

/// Vectors whose exceptions push an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP, #VC, #SX (Intel SDM volume 3,
/// table 6-1; AMD APM volume 2, table 8-1).
const VECTORS_WITH_ERROR_CODE: u32 =
    1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17 | 1 << 21 | 1 << 29 | 1 << 30;

/// What lies on the stack when the Rust handler is called: registers by the common entry, vector and error code by the
/// vector's entry, the rest by the processor.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct ExceptionFrame {
    pub(crate) r15: u64,
    pub(crate) r14: u64,
    pub(crate) r13: u64,
    pub(crate) r12: u64,
    pub(crate) r11: u64,
    pub(crate) r10: u64,
    pub(crate) r9: u64,
    pub(crate) r8: u64,
    pub(crate) rbp: u64,
    pub(crate) rdi: u64,
    pub(crate) rsi: u64,
    pub(crate) rdx: u64,
    pub(crate) rcx: u64,
    pub(crate) rbx: u64,
    pub(crate) rax: u64,
    pub(crate) vector: u64,
    pub(crate) error_code: u64,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

#[cfg(target_os = "none")]
core::arch::global_asm!(
    include_str!("exceptions.s"),
    vectors = const VECTORS,
    vectors_with_error_code = const VECTORS_WITH_ERROR_CODE,
    rip = const core::mem::offset_of!(ExceptionFrame, rip),
    vector = const core::mem::offset_of!(ExceptionFrame, vector),
    handler = sym handle,
);

/// Address of the entry of a vector.
pub(crate) fn entry(vector: u8) -> u64 {
    // SAFETY: the label of `exceptions.s`, behind which lie so many entries of 16 bytes.
    unsafe extern "C" {
        static exception_entries: [[u8; 16]; VECTORS];
    }
    // SAFETY: the address of a label; nothing is read.
    unsafe { &raw const exception_entries[usize::from(vector)] as u64 }
}

/// Returns where what was interrupted can go on; says whether interrupts were masked for it and must be unmasked.
extern "C" fn handle(frame: &mut ExceptionFrame) -> bool {
    if frame.vector == u64::from(PAGE_FAULT_VECTOR) && page_fault::handle(frame) {
        // Masked as they were: by an interrupt gate, from which iretq brings the flag back, or not at all.
        return false;
    }
    if Host::of_machine().handlers_start_unmasked() {
        if interrupts::note(frame.vector) {
            return false;
        }
        // SAFETY: nobody misses interrupts meanwhile: the entry unmasks before it returns, and a report never does.
        unsafe { x86::irq::disable() };
    }
    if !interrupts::handle(frame) {
        fault::report(frame);
    }
    !interrupts::are_masked()
}
