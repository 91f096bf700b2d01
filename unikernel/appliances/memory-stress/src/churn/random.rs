//! Sizes and choices from a seed.

use crate::content::mix;

/// A sequence of pseudo-random numbers: SplitMix64, as in [`mix`].
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of this seed for this use. Uses have sequences of their own.
    #[must_use]
    pub const fn new(seed: u64, stream: u64) -> Self {
        Self { state: mix(seed ^ mix(stream)) }
    }

    /// The next number.
    pub const fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `end`, which is not 0. Not quite uniform, which does not matter for ends that are far below 2^64.
    pub const fn below(&mut self, end: usize) -> usize {
        (self.word() % end as u64) as usize
    }

    /// A length between two powers of two, both included. Its logarithm is about uniform: each doubling is as likely as
    /// any other.
    pub const fn len(&mut self, least_log2: u32, most_log2: u32) -> usize {
        let doubling = 1_usize << (least_log2 as usize + self.below((most_log2 - least_log2) as usize));
        doubling + self.below(doubling + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_lie_between_their_bounds_and_reach_each_doubling() {
        let mut random = Random::new(1, 2);
        let mut doublings = [0; 17];
        for _ in 0..12_000 {
            let len = random.len(4, 16);
            assert!((16..=65_536).contains(&len), "{len}");
            doublings[len.ilog2() as usize] += 1;
        }
        assert!(doublings[4..16].iter().all(|count| (800..1200).contains(count)), "{doublings:?}");
    }

    #[test]
    fn a_sequence_is_its_seeds_and_its_streams() {
        let words = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [random.word(), random.word()]
        };
        assert_eq!(words(1, 2), words(1, 2));
        assert_ne!(words(1, 2), words(2, 2));
        assert_ne!(words(1, 2), words(1, 3));
    }
}
