//! The one-shot timer of the local APIC, as an alarm that is set to a value of the TSC.
//!
//! It takes that value as it is where it has the mode (Intel SDM volume 3, 11.5.4.1). Elsewhere it counts down at a
//! frequency that nobody tells, which is measured against the TSC. Either is tried before it is relied on, at the first use
//! and not at boot, since that takes time: some 30 µs and 1 ms.
//!
//! An alarm may go off early: whoever set it looks at the clock and sets it again. So neither a wait beyond the counter's 32
//! bits nor an error of the measurement matters.

use crate::cpu::clock;
use crate::cpu::local_apic::{self, LocalApic};
use core::fmt;
use core::time::Duration;
use x86::msr::{IA32_TSC_DEADLINE, rdmsr, wrmsr};

/// How far ahead an alarm is set at most. KVM's conversion of a deadline overflows 64 bits after more than an hour.
const FURTHEST: Duration = Duration::from_secs(600);
/// Deadline that the timer is tried with, and how late it may be.
const TRIAL: Duration = Duration::from_micros(10);
const TRIAL_LIMIT: Duration = Duration::from_millis(5);
/// How long the counter is measured.
const MEASUREMENT: Duration = Duration::from_millis(1);
/// How often the counter is read for one value: the host may come between it and the TSC, but hardly each time.
const LOOKS: u32 = 8;

/// Why the timer can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAlarm {
    /// There is no local APIC that could have one; the boot has said why.
    NoLocalApic,
    /// It has no deadlines that pass, and its counter does not count.
    StandsStill,
}

impl fmt::Display for BadAlarm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoLocalApic => "there is no local APIC, whose timer it would be",
            Self::StandsStill => {
                "the timer of the local APIC stands still: no deadline passes, nothing is counted"
            }
        })
    }
}

/// How the alarm is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// By the TSC itself.
    TscDeadline,
    /// By a number of counts.
    Count(CountRate),
}

/// Counts per tick of the TSC, scaled by 2 to the 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountRate(u64);

impl CountRate {
    /// From counts that came in so many ticks; `None` if none did, or more than could be.
    fn new(counts: u32, ticks: u64) -> Option<Self> {
        (u64::from(counts) << 32).checked_div(ticks).filter(|&rate| rate != 0).map(Self)
    }

    /// Counts in so many ticks, rounded up: at least 1, at most what the counter holds.
    fn counts(self, ticks: u64) -> u32 {
        let counts = ((u128::from(ticks) * u128::from(self.0)) >> 32) + 1;
        u32::try_from(counts).unwrap_or(u32::MAX)
    }
}

impl Alarm {
    /// Finds a way that works on this CPU, and lets the timer interrupt. Takes milliseconds at most. Interrupts are masked;
    /// the trial of a deadline leaves one to come, for nothing.
    pub(super) fn find() -> Result<Self, BadAlarm> {
        local_apic::with(|local_apic| {
            local_apic.unmask_timer();
            let alarm = if local_apic.has_tsc_deadline() && deadlines_pass(local_apic) {
                Self::TscDeadline
            } else {
                local_apic.use_count();
                Self::Count(measure(local_apic).ok_or(BadAlarm::StandsStill)?)
            };
            Ok(alarm)
        })
        .unwrap_or(Err(BadAlarm::NoLocalApic))
    }

    /// Sets the alarm, in place of what it was set to. It goes off at the deadline or before that, and at once if that
    /// has passed.
    pub(super) fn set(self, deadline: u64) {
        let now = clock::ticks();
        let ahead = deadline.saturating_sub(now).min(clock::ticks_in(FURTHEST));
        match self {
            // SAFETY: the mode was tried; the vector has a handler. 0 would set no alarm.
            Self::TscDeadline => unsafe { wrmsr(IA32_TSC_DEADLINE, now.saturating_add(ahead).max(1)) },
            Self::Count(rate) => {
                local_apic::with(|local_apic| local_apic.start_count(rate.counts(ahead)));
            }
        }
    }
}

/// Whether a deadline passes. The timer then forgets it: KVM's only if the timer is not masked.
fn deadlines_pass(local_apic: &LocalApic) -> bool {
    let start = clock::ticks();
    let limit = clock::ticks_in(TRIAL_LIMIT);
    if local_apic.needs_fence() {
        // SAFETY: it orders memory accesses, and does nothing else.
        unsafe { core::arch::asm!("mfence", options(nostack, preserves_flags)) };
    }
    // SAFETY: CPUID has the mode, which the local APIC was enabled with.
    unsafe { wrmsr(IA32_TSC_DEADLINE, start + clock::ticks_in(TRIAL)) };
    loop {
        // Before the look: the host may run others in between for longer than the limit.
        let passed = clock::ticks() - start;
        // SAFETY: as above.
        let is_forgotten = unsafe { rdmsr(IA32_TSC_DEADLINE) } == 0;
        if is_forgotten {
            return clock::ticks() - start >= clock::ticks_in(TRIAL);
        }
        if passed > limit {
            return false;
        }
    }
}

/// Measures the frequency of the counter.
fn measure(local_apic: &mut LocalApic) -> Option<CountRate> {
    local_apic.start_count(u32::MAX);
    let (start_count, start) = look(local_apic);
    while clock::ticks() - start < clock::ticks_in(MEASUREMENT) {
        core::hint::spin_loop();
    }
    let (end_count, end) = look(local_apic);
    local_apic.start_count(0);
    CountRate::new(start_count.checked_sub(end_count)?, end - start)
}

/// The count and the TSC at one moment: of a few looks that which took the shortest time.
fn look(local_apic: &LocalApic) -> (u32, u64) {
    let one = |_| {
        let before = clock::ticks();
        let count = local_apic.count_left();
        let after = clock::ticks();
        (after - before, count, before + (after - before) / 2)
    };
    let (_, count, ticks) = (0..LOOKS).map(one).min_by_key(|(duration, ..)| *duration).unwrap_or_default();
    (count, ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_rounded_up_and_bounded() {
        // A counter of 1 GHz beside a TSC of 2.5 GHz.
        let rate = CountRate::new(1_000_000, 2_500_000).unwrap();
        assert_eq!(rate.counts(0), 1, "0 would stop it");
        assert!((1_000_000..=1_000_001).contains(&rate.counts(2_500_000)));
        assert_eq!(rate.counts(1 << 40), u32::MAX);
        assert_eq!(rate.counts(u64::MAX), u32::MAX);
    }

    #[test]
    fn a_counter_faster_than_the_tsc_has_a_rate() {
        let rate = CountRate::new(u32::MAX, 1 << 20).unwrap();
        assert_eq!(rate.counts(1), 4096);
        assert_eq!(rate.counts(u64::MAX), u32::MAX);
    }

    #[test]
    fn a_counter_that_stands_still_has_no_rate() {
        assert_eq!(CountRate::new(0, 1_000_000), None);
        assert_eq!(CountRate::new(5, 0), None);
    }
}
