//! Interrupts: masking them, and what handles which.
//!
//! Whether interrupts are masked is counted for each CPU, and RFLAGS.IF never read or saved: on PVM it always reads 1. They
//! are masked while the count is not 0. It starts at 1, until [`enable`]; [`without`] and handlers add 1 each.
//!
//! A handler runs on the stack of what it interrupts, whose locks may be held: it takes none but a [`MaskedLock`].
//!
//! Masking costs two traps on PVM, more than all else that a page fault does. [`shortly_without`] lets interrupts come there,
//! which are noted down, and handled when it is done.

use super::exceptions::ExceptionFrame;
use super::host::Host;
use super::per_cpu::this_cpu;
use super::{halt, local_apic, timer};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering, compiler_fence};
use spin::Mutex;

/// Vector of the local APIC's timer.
pub(super) const TIMER_VECTOR: u8 = 0xe0;
/// Vector of the local APIC's errors.
pub(super) const ERROR_VECTOR: u8 = 0xfe;
/// Vector of interrupts that were gone when the processor asked which it was. Its low four bits are 1 on every processor.
pub(super) const SPURIOUS_VECTOR: u8 = 0xff;

/// How a CPU stands with interrupts. Only its own CPU touches it, and a handler leaves it as it was: plain loads and stores
/// suffice, but for what is noted down, between whose halves another interrupt may come.
pub(super) struct Masking {
    /// How many reasons there are to keep interrupts masked.
    depth: AtomicU32,
    /// Whether those that come are noted down.
    notes: AtomicBool,
    /// Those that were: [`TIMER_NOTED`], [`ERROR_NOTED`].
    noted: AtomicU32,
}

const TIMER_NOTED: u32 = 1 << 0;
const ERROR_NOTED: u32 = 1 << 1;

impl Masking {
    pub(super) const fn new() -> Self {
        Self { depth: AtomicU32::new(1), notes: AtomicBool::new(false), noted: AtomicU32::new(0) }
    }

    fn depth(&self) -> u32 {
        self.depth.load(Ordering::Relaxed)
    }

    fn set_depth(&self, depth: u32) {
        self.depth.store(depth, Ordering::Relaxed);
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

/// Runs `work`, which faults nowhere and prints nothing, with no interrupt handled meanwhile. A page of 2 MiB is cleared in
/// such: a tenth of a millisecond, and more where the host has to find the memory first.
pub(crate) fn shortly_without<R>(work: impl FnOnce() -> R) -> R {
    if !Host::of_machine().handlers_start_unmasked() {
        return without(work);
    }
    let masking = &this_cpu().masking;
    if masking.depth() != 0 {
        return work();
    }
    masking.notes.store(true, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    let result = work();
    compiler_fence(Ordering::SeqCst);
    masking.notes.store(false, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    if masking.noted.load(Ordering::Relaxed) != 0 {
        without(|| {
            let noted = masking.noted.swap(0, Ordering::Relaxed);
            if noted & TIMER_NOTED != 0 {
                timer::interrupt();
                local_apic::end_interrupt();
            }
            if noted & ERROR_NOTED != 0 {
                local_apic::note_errors();
                local_apic::end_interrupt();
            }
        });
    }
    result
}

/// Notes an interrupt down, if this is no time to handle it; says whether it did.
pub(super) fn note(vector: u64) -> bool {
    let masking = &this_cpu().masking;
    if !masking.notes.load(Ordering::Relaxed) {
        return false;
    }
    let bit = match vector as u8 {
        TIMER_VECTOR => TIMER_NOTED,
        ERROR_VECTOR => ERROR_NOTED,
        SPURIOUS_VECTOR => 0,
        _ => return false,
    };
    masking.noted.fetch_or(bit, Ordering::Relaxed);
    true
}

/// Masks interrupts for good, for who ends the machine.
pub(crate) fn mask_for_ever() {
    let masking = &this_cpu().masking;
    masking.set_depth(masking.depth() + 1);
    set_masked(true);
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
