//! What each CPU has for itself. One runs, so there is one.

use super::interrupts::{MaskedLock, Masking};
use super::local_apic::LocalApic;
use super::timer::Timers;

/// What belongs to a CPU. Only that CPU uses it.
pub(super) struct PerCpu {
    pub(super) masking: Masking,
    /// None before it was enabled, and for ever where it can't be.
    pub(super) local_apic: MaskedLock<Option<LocalApic>>,
    pub(super) timers: MaskedLock<Timers>,
}

static BOOT_CPU: PerCpu = PerCpu {
    masking: Masking::new(),
    local_apic: MaskedLock::new(None),
    timers: MaskedLock::new(Timers::new()),
};

/// What belongs to the CPU that calls.
pub(super) fn this_cpu() -> &'static PerCpu {
    &BOOT_CPU
}
