//! The local APIC of a CPU: enabling it, ending its interrupts, its errors and its timer's registers.
//!
//! It is in x2APIC mode, its registers MSRs, where CPUID has that, else in xAPIC mode, its registers in a page of memory
//! (Intel SDM volume 3, chapter 11). Only its timer and errors interrupt: the pins are masked, where a PC of old has the
//! 8259 and the NMI.

use super::features::{self, LocalApicFeatures};
use super::interrupts::{ERROR_VECTOR, SPURIOUS_VECTOR, TIMER_VECTOR};
use super::per_cpu::this_cpu;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::live::MmioError;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use x2apic::lapic::{LocalApicBuilder, TimerDivide, TimerMode};

/// Registers that the `x2apic` crate does not write, by their offset in the page.
const ERROR_STATUS: u32 = 0x280;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const LVT_MASKED: u32 = 1 << 16;
/// MSR of the register at offset 0; each 16 bytes are one MSR.
const X2APIC_MSRS: u32 = 0x800;

/// Errors that no one has been told of, as the error status register has them.
static ERRORS: AtomicU32 = AtomicU32::new(0);

/// Why there is no local APIC to use, and so no timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// CPUID has none.
    Missing,
    /// Its registers can't be mapped.
    Unmapped(MmioError),
    /// The `x2apic` crate can't use it.
    Refused(&'static str),
}

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("no local APIC: ")?;
        match self {
            Self::Missing => formatter.write_str("CPUID has none; give the virtual machine one"),
            Self::Unmapped(cause) => cause.fmt(formatter),
            Self::Refused(reason) => formatter.write_str(reason),
        }
    }
}

impl core::error::Error for Unusable {}

/// Where the registers are.
#[derive(Clone, Copy, Debug)]
enum Registers {
    Msrs,
    Page(VirtAddr),
}

/// The local APIC of the CPU whose this is.
#[derive(Debug)]
pub(super) struct LocalApic {
    registers: Registers,
    has_tsc_deadline: bool,
    apic: x2apic::lapic::LocalApic,
}

// SAFETY: it stays with its CPU, in `PerCpu`; nothing in it depends on the CPU otherwise.
unsafe impl Send for LocalApic {}

/// Enables the local APIC of this CPU, its timer stopped. Interrupts are masked. Gives what it can do.
///
/// `map` maps the page of its registers at a physical address, uncached and writable, for ever. It is called where they are
/// not MSRs.
///
/// # Errors
/// [`Unusable`].
pub(crate) fn enable(
    map: impl FnOnce(PhysAddr) -> Result<VirtAddr, MmioError>,
) -> Result<LocalApicFeatures, Unusable> {
    let features = features::local_apic().ok_or(Unusable::Missing)?;
    let mut builder = LocalApicBuilder::new();
    builder
        .timer_vector(TIMER_VECTOR.into())
        .error_vector(ERROR_VECTOR.into())
        .spurious_vector(SPURIOUS_VECTOR.into())
        .timer_mode(if features.tsc_deadline { TimerMode::TscDeadline } else { TimerMode::OneShot })
        .timer_divide(TimerDivide::Div1)
        .timer_initial(0);
    let registers = if features.x2apic {
        Registers::Msrs
    } else {
        // SAFETY: CPUID has the local APIC, and with it this MSR.
        let base = unsafe { x2apic::lapic::xapic_base() };
        let page = map(PhysAddr::new(base)).map_err(Unusable::Unmapped)?;
        builder.set_xapic_base(page.as_u64());
        Registers::Page(page)
    };
    let apic = builder.build().map_err(Unusable::Refused)?;
    let mut local_apic = LocalApic { registers, has_tsc_deadline: features.tsc_deadline, apic };
    // SAFETY: the local APIC is there, with its registers mapped; the vectors lead to handlers. The crate leaves the pins
    // unmasked with vector 0, which is none, so they are masked behind it.
    unsafe {
        local_apic.apic.enable();
        local_apic.write(LVT_LINT0, LVT_MASKED);
        local_apic.write(LVT_LINT1, LVT_MASKED);
    }
    this_cpu().local_apic.with(|slot| *slot = Some(local_apic));
    Ok(features)
}

/// Runs `work` on the local APIC of this CPU; `None` where it has none.
pub(super) fn with<R>(work: impl FnOnce(&mut LocalApic) -> R) -> Option<R> {
    this_cpu().local_apic.with(|local_apic| local_apic.as_mut().map(work))
}

/// Lets the next interrupt of the same or a lower priority come.
pub(super) fn end_interrupt() {
    // SAFETY: called by the handler of an interrupt that is not ended yet.
    with(|local_apic| unsafe { local_apic.apic.end_of_interrupt() });
}

/// Handles the error interrupt. To print here could wait for what was interrupted.
pub(super) fn note_errors() {
    with(|local_apic| {
        // SAFETY: a write moves the errors to where they can be read, and has no other effect.
        let errors = unsafe {
            local_apic.write(ERROR_STATUS, 0);
            local_apic.apic.error_flags()
        };
        ERRORS.fetch_or(errors.bits().into(), Ordering::Relaxed);
    });
}

/// Logs the errors since the last call.
pub(super) fn log_errors() {
    if ERRORS.load(Ordering::Relaxed) != 0 {
        let errors = ERRORS.swap(0, Ordering::Relaxed);
        log::warn!("errors of the local APIC, as its error status has them: {errors:#x}");
    }
}

impl LocalApic {
    /// Writes the register at an offset.
    ///
    /// # Safety
    /// The register is there, and takes the value without harm.
    unsafe fn write(&mut self, offset: u32, value: u32) {
        // SAFETY: the caller's promise. The page is mapped as long as the kernel runs.
        unsafe {
            match self.registers {
                Registers::Msrs => x86::msr::wrmsr(X2APIC_MSRS + offset / 16, value.into()),
                Registers::Page(page) => {
                    core::ptr::with_exposed_provenance_mut::<u32>(page.as_u64() as usize + offset as usize)
                        .write_volatile(value);
                }
            }
        }
    }

    /// Whether the timer takes deadlines. It then has that mode from the start.
    pub(super) const fn has_tsc_deadline(&self) -> bool {
        self.has_tsc_deadline
    }

    /// Has the timer count down once, from what [`LocalApic::start_count`] gives it.
    pub(super) fn use_count(&mut self) {
        // SAFETY: the handler of the timer's vector does not depend on its mode.
        unsafe { self.apic.set_timer_mode(TimerMode::OneShot) };
    }

    /// Starts to count down; 0 stops it.
    pub(super) fn start_count(&mut self, count: u32) {
        // SAFETY: the timer interrupts at worst, and has a handler.
        unsafe { self.apic.set_timer_initial(count) };
    }

    /// What is left to count.
    pub(super) fn count_left(&self) -> u32 {
        // SAFETY: reading changes nothing.
        unsafe { self.apic.timer_current() }
    }

    /// Lets the timer interrupt. The crate's own attempt comes before the local APIC is enabled, and so without effect.
    pub(super) fn unmask_timer(&mut self) {
        // SAFETY: its vector has a handler.
        unsafe { self.apic.enable_timer() };
    }

    /// Whether a processor sees stores to the registers before later writes to MSRs only if it is told to.
    pub(super) const fn needs_fence(&self) -> bool {
        matches!(self.registers, Registers::Page(_))
    }
}
