//! Moments, by the [clock](super::clock).

use super::clock;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment since boot, to the nanosecond, for 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    nanoseconds: u64,
}

impl Instant {
    /// The present moment. Never before an earlier one.
    #[must_use]
    pub fn now() -> Self {
        Self { nanoseconds: clock::nanoseconds_since_boot() }
    }

    /// How long ago it was; zero for a moment to come.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now() - self
    }

    /// Time from an earlier moment to this; zero if that one is later.
    #[must_use]
    pub const fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanoseconds.saturating_sub(earlier.nanoseconds))
    }

    /// The moment so much later; `None` beyond the last there is.
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let nanoseconds = u64::try_from(duration.as_nanos()).ok()?;
        Some(Self { nanoseconds: self.nanoseconds.checked_add(nanoseconds)? })
    }

    /// TSC at this moment, rounded up: when it has that value, [`Instant::now`] has reached this.
    pub(super) fn ticks(self) -> u64 {
        clock::ticks_at(self.nanoseconds)
    }
}

/// The moment so much later, or the last there is.
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        self.checked_add(duration).unwrap_or(Self { nanoseconds: u64::MAX })
    }
}

/// The moment so much earlier, or that of the boot.
impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self { nanoseconds: self.nanoseconds.saturating_sub(nanoseconds) }
    }
}

/// Time between two moments; zero if the second is later.
impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_ends_at_the_ends_of_time() {
        let at = |nanoseconds| Instant { nanoseconds };
        assert_eq!(at(5) + Duration::from_nanos(7), at(12));
        assert_eq!(at(5).checked_add(Duration::from_nanos(u64::MAX)), None);
        assert_eq!(at(5).checked_add(Duration::MAX), None);
        assert_eq!(at(5) + Duration::MAX, at(u64::MAX));
        assert_eq!(at(12) - Duration::from_nanos(7), at(5));
        assert_eq!(at(5) - Duration::MAX, at(0));
        assert_eq!(at(12) - at(5), Duration::from_nanos(7));
        assert_eq!(at(5) - at(12), Duration::ZERO);
        assert!(at(5) < at(12));
    }
}
