//! Time since boot, from the time stamp counter (TSC).
//!
//! The counter's frequency comes from the first of these that knows it: the host information of `vmm-stub`, CPUID,
//! KVM's clock, and at last a measurement against the PIT.

use super::{features, kvm_clock};
use crate::device::pit;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use spin::Once;

pub use super::instant::Instant;

pub(super) const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;
/// What a frequency may be, in Hz. What is told beyond is no frequency.
const PLAUSIBLE_HZ: core::ops::Range<u64> = 1_000_000..1_000_000_000_000;
/// What is assumed when nothing knows the frequency, so that time at least goes on.
const FALLBACK_HZ: u64 = 1_000_000_000;

static CLOCK: Once<Clock> = Once::new();
/// TSC when the kernel was entered; written once, before the clock is set up.
static ENTRY: AtomicU64 = AtomicU64::new(0);

struct Clock {
    scale: Scale,
    hz: u64,
    source: Source,
}

/// Who told the frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The host information record.
    Host,
    /// A CPUID leaf.
    Cpuid,
    /// KVM's paravirtual clock.
    KvmClock,
    /// A measurement against the PIT.
    Pit,
    /// Nobody: durations are in an unknown unit.
    Unknown,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Host => "told by the host",
            Self::Cpuid => "told by CPUID",
            Self::KvmClock => "told by KVM's clock",
            Self::Pit => "measured against the PIT",
            Self::Unknown => "unknown: times are only relative",
        })
    }
}

/// Factor from ticks to nanoseconds, as a multiplier and a right shift of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scale(u64);

impl Scale {
    const SHIFT: u32 = 32;

    /// The factor for a counter of `hz`, which is not 0.
    const fn from_hz(hz: u64) -> Self {
        Self((((NANOSECONDS_PER_SECOND as u128) << Self::SHIFT) / hz as u128) as u64)
    }

    /// Nanoseconds in `ticks`; right for 500 years.
    const fn nanoseconds(self, ticks: u64) -> u64 {
        ((ticks as u128 * self.0 as u128) >> Self::SHIFT) as u64
    }

    /// The fewest ticks that come to so many nanoseconds, or [`u64::MAX`].
    fn ticks(self, nanoseconds: u64) -> u64 {
        let scaled = u128::from(nanoseconds) << Self::SHIFT;
        u64::try_from(scaled.div_ceil(u128::from(self.0))).unwrap_or(u64::MAX)
    }
}

/// The TSC.
#[must_use]
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and no host here forbids it (CR4.TSD).
    unsafe { x86::time::rdtsc() }
}

/// Notes the moment of entry.
pub(crate) fn entered(ticks: u64) {
    ENTRY.store(ticks, Ordering::Relaxed);
}

/// TSC at the moment of entry.
pub(crate) fn entry_ticks() -> u64 {
    ENTRY.load(Ordering::Relaxed)
}

/// Finds out the frequency. `host_hz` is what the host information says.
pub(crate) fn init(host_hz: Option<u64>) {
    CLOCK.call_once(|| {
        let known = plausible(host_hz, Source::Host)
            .or_else(|| plausible(features::tsc_hz(), Source::Cpuid))
            .or_else(|| plausible(kvm_clock::tsc_hz(), Source::KvmClock))
            .or_else(|| plausible(pit::measure_tsc_hz(), Source::Pit));
        let (hz, source) = known.unwrap_or((FALLBACK_HZ, Source::Unknown));
        Clock { scale: Scale::from_hz(hz), hz, source }
    });
}

/// What a source tells, if that can be a frequency.
fn plausible(hz: Option<u64>, source: Source) -> Option<(u64, Source)> {
    hz.filter(|hz| PLAUSIBLE_HZ.contains(hz)).map(|hz| (hz, source))
}

/// Time since the kernel was entered; zero before the clock is set up.
#[must_use]
pub fn since_boot() -> Duration {
    Duration::from_nanos(nanoseconds_since_boot())
}

pub(super) fn nanoseconds_since_boot() -> u64 {
    let Some(clock) = CLOCK.get() else { return 0 };
    clock.scale.nanoseconds(ticks().saturating_sub(entry_ticks()))
}

/// TSC when so much time has passed since the kernel was entered. Everything is past before the clock is set up.
pub(super) fn ticks_at(nanoseconds: u64) -> u64 {
    CLOCK.get().map_or(0, |clock| entry_ticks().saturating_add(clock.scale.ticks(nanoseconds)))
}

/// How many ticks the TSC takes for a duration, rounded up; none before the clock is set up.
pub(super) fn ticks_in(duration: Duration) -> u64 {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    CLOCK.get().map_or(0, |clock| clock.scale.ticks(nanoseconds))
}

/// Frequency of the TSC in Hz, and who told it; `None` before the clock is set up.
#[must_use]
pub fn frequency() -> Option<(u64, Source)> {
    CLOCK.get().map(|clock| (clock.hz, clock.source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_frequency_is_not_taken() {
        for hz in [0, 1, 999_999, 1_000_000_000_000, u64::MAX] {
            assert_eq!(plausible(Some(hz), Source::Host), None, "{hz}");
        }
        for hz in [PLAUSIBLE_HZ.start, PLAUSIBLE_HZ.end - 1] {
            assert_eq!(plausible(Some(hz), Source::Pit), Some((hz, Source::Pit)));
            assert!(Scale::from_hz(hz).ticks(1_000_000) >= hz / 1001, "{hz}");
        }
    }

    #[test]
    fn ticks_become_nanoseconds() {
        for hz in [1_000_000_000, 2_600_000_000, 19_200_000] {
            let nanoseconds = Scale::from_hz(hz).nanoseconds(hz * 3600);
            let error = nanoseconds.abs_diff(3600 * NANOSECONDS_PER_SECOND);
            assert!(error < 10_000, "{error} ns off after an hour at {hz} Hz");
        }
    }

    #[test]
    fn nanoseconds_become_the_fewest_ticks_that_reach_them() {
        for hz in [1_000_000_000, 2_599_999_998, 19_200_000] {
            let scale = Scale::from_hz(hz);
            for nanoseconds in [1, 52, 999, 1_000_000_007, 1 << 40, 1 << 55] {
                let ticks = scale.ticks(nanoseconds);
                assert!(scale.nanoseconds(ticks) >= nanoseconds, "{nanoseconds} ns at {hz} Hz");
                assert!(scale.nanoseconds(ticks - 1) < nanoseconds, "{nanoseconds} ns at {hz} Hz");
            }
            assert_eq!(scale.ticks(0), 0);
        }
        assert_eq!(Scale::from_hz(4_000_000_000).ticks(u64::MAX), u64::MAX, "more than there are");
    }
}
