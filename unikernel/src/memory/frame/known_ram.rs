//! Large ranges that are known to be RAM, to answer for them without a look at each frame: what is RAM stays RAM.

use crate::memory::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How many ranges are kept. Those that come later are looked at frame by frame.
#[cfg(not(loom))]
const RANGES_MAX: usize = 8;
#[cfg(loom)]
const RANGES_MAX: usize = 1;

/// Numbers of frames.
#[derive(Debug)]
pub(super) struct KnownRam {
    ranges: [Range; RANGES_MAX],
    used: AtomicUsize,
}

#[derive(Debug)]
struct Range {
    first: AtomicU64,
    /// 0 until the range is complete.
    end: AtomicU64,
}

impl KnownRam {
    pub(super) fn new() -> Self {
        let range = |_| Range { first: AtomicU64::new(0), end: AtomicU64::new(0) };
        Self { ranges: core::array::from_fn(range), used: AtomicUsize::new(0) }
    }

    /// Notes a range, if there is room. One caller at a time.
    pub(super) fn note(&self, first: u64, count: u64) {
        let used = self.used.load(Ordering::Relaxed);
        let Some(range) = self.ranges.get(used) else { return };
        self.used.store(used + 1, Ordering::Relaxed);
        range.first.store(first, Ordering::Relaxed);
        // Release: partner is the Acquire of `contains`, which then sees the start.
        range.end.store(first + count, Ordering::Release);
    }

    /// Whether all of a range is known to be RAM.
    pub(super) fn contains(&self, first: u64, count: u64) -> bool {
        let end = first.saturating_add(count);
        let holds = |range: &Range| {
            end <= range.end.load(Ordering::Acquire) && range.first.load(Ordering::Relaxed) <= first
        };
        self.ranges.iter().any(holds)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_one_range_is_known() {
        let known = KnownRam::new();
        assert!(!known.contains(0, 1));
        known.note(100, 50);
        known.note(150, 50);
        for (first, count, expected) in [
            (100, 50, true),
            (100, 51, false),
            (99, 2, false),
            (149, 1, true),
            (149, 2, false),
            (199, 1, true),
        ] {
            assert_eq!(known.contains(first, count), expected, "{count} from {first}");
        }
        assert!(!known.contains(u64::MAX, 2));
        (0..20).for_each(|index| known.note(1000 + index, 1));
        assert!(
            known.contains(1000, 1) && !known.contains(1019, 1),
            "one too many is not known, and no harm"
        );
    }
}
