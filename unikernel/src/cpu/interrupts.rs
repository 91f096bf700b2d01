//! Interrupts: masking them, and what handles which.
//!
//! Whether interrupts are masked is counted for each CPU, and RFLAGS.IF never read or saved: on PVM it always reads 1. They
//! are masked while the count is not 0. It starts at 1, until [`enable`]; [`without`] and handlers add 1 each.
//!
//! A handler runs on the stack of what it interrupts, whose locks may be held: it takes none but a [`MaskedLock`].

use super::exceptions::ExceptionFrame;
use super::per_cpu::this_cpu;
use super::{halt, local_apic, timer};
use core::sync::atomic::{AtomicU32, Ordering};
use spin::Mutex;

/// Vector of the local APIC's timer.
pub(super) const TIMER_VECTOR: u8 = 0xe0;
/// Vector of the local APIC's errors.
pub(super) const ERROR_VECTOR: u8 = 0xfe;
/// Vector of interrupts that were gone when the processor asked which it was. Its low four bits are 1 on every processor.
pub(super) const SPURIOUS_VECTOR: u8 = 0xff;

/// How many reasons there are to keep interrupts masked. Only its own CPU touches it, and a handler leaves it as it was:
/// plain loads and stores suffice.
pub(super) struct Masking(AtomicU32);

impl Masking {
    pub(super) const fn new() -> Self {
        Self(AtomicU32::new(1))
    }

    fn depth(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn set_depth(&self, depth: u32) {
        self.0.store(depth, Ordering::Relaxed);
    }

    fn mask(&self) {
        let depth = self.depth();
        if depth == 0 {
            set_masked(true);
        }
        self.set_depth(depth + 1);
    }

    fn unmask(&self) {
        let depth = self.depth() - 1;
        self.set_depth(depth);
        if depth == 0 {
            set_masked(false);
        }
    }
}

/// Tells the processor. The host has no interrupts for its tests.
fn set_masked(masked: bool) {
    #[cfg(target_os = "none")]
    // SAFETY: the descriptor tables are loaded, with a gate for every vector. Masking harms nobody; who unmasks is the last
    // who wanted it.
    unsafe {
        if masked {
            x86::irq::disable();
        } else {
            x86::irq::enable();
        }
    }
    #[cfg(not(target_os = "none"))]
    let _ = masked;
}

/// Runs `work` with interrupts masked. May be nested; they are unmasked when the outermost is done.
pub fn without<R>(work: impl FnOnce() -> R) -> R {
    let masking = &this_cpu().masking;
    masking.mask();
    let result = work();
    masking.unmask();
    result
}

/// Whether interrupts are masked here: inside of [`without`] or a handler, or since they were never enabled.
#[must_use]
pub fn are_masked() -> bool {
    this_cpu().masking.depth() != 0
}

/// Lets the first interrupt come. Called once, when there is somebody to send it.
pub(crate) fn enable() {
    this_cpu().masking.unmask();
}

/// Halts until an interrupt has been handled, unless `prepare`, which runs masked, returns an error. An interrupt that
/// comes after `prepare` ends the halt. Where interrupts were masked before, it does not halt.
pub(super) fn halt_after<E>(prepare: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    let masking = &this_cpu().masking;
    masking.mask();
    let prepared = prepare();
    if prepared.is_err() || masking.depth() != 1 {
        masking.unmask();
        return prepared;
    }
    masking.set_depth(masking.depth() - 1);
    // SAFETY: masked above, and by nobody else.
    unsafe { halt::unmask_and_halt() };
    Ok(())
}

/// Handles an interrupt, masked by the processor; whether its vector is one that the kernel has asked for.
pub(super) fn handle(frame: &mut ExceptionFrame) -> bool {
    let (handler, wants_end): (fn(), bool) = match frame.vector as u8 {
        TIMER_VECTOR => (timer::interrupt, true),
        ERROR_VECTOR => (local_apic::note_errors, true),
        SPURIOUS_VECTOR => (|| {}, false),
        _ => return false,
    };
    let masking = &this_cpu().masking;
    masking.set_depth(masking.depth() + 1);
    handler();
    if wants_end {
        local_apic::end_interrupt();
    }
    masking.set_depth(masking.depth() - 1);
    halt::behind_halt(frame);
    true
}

/// A lock that is held with interrupts masked, so that a handler never waits for what it has interrupted.
pub(super) struct MaskedLock<T>(Mutex<T>);

impl<T> MaskedLock<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Runs `work` with the lock held. It must not take the lock again.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        without(|| work(&mut self.0.lock()))
    }
}
