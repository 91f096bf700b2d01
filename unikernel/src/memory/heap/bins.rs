//! Which lengths of free runs there are: a bin for each eighth of a doubling, and a bit for each bin that is not empty.

use core::iter;

/// Bins for lengths up to `u32::MAX`: 8 exact ones, then 8 for each doubling.
const BINS: usize = 8 + 29 * 8;

/// The first run of each bin. Runs are numbers that are not 0, so that empty bins are all zeros.
pub(super) struct Bins {
    filled: [u64; BINS.div_ceil(64)],
    first: [u32; BINS],
}

/// The bin of runs of this length. Up to 16 a bin has one length; further up lengths of a bin differ by an eighth.
pub(super) const fn bin_of(len: u32) -> usize {
    match len {
        0..8 => len as usize,
        _ => {
            let doubling = len.ilog2() as usize;
            (doubling - 2) * 8 + (len >> (doubling - 3)) as usize % 8
        }
    }
}

impl Bins {
    pub(super) const fn new() -> Self {
        Self { filled: [0; BINS.div_ceil(64)], first: [0; BINS] }
    }

    pub(super) fn first(&self, bin: usize) -> u32 {
        self.first.get(bin).copied().unwrap_or(0)
    }

    /// Sets the first run of a bin; 0 makes it empty.
    pub(super) fn set_first(&mut self, bin: usize, run: u32) {
        self.first[bin] = run;
        let bit = 1 << (bin % 64);
        if run == 0 {
            self.filled[bin / 64] &= !bit;
        } else {
            self.filled[bin / 64] |= bit;
        }
    }

    /// The last bin that is not empty.
    pub(super) fn last_filled(&self) -> Option<usize> {
        let word = self.filled.iter().rposition(|word| *word != 0)?;
        Some(word * 64 + self.filled[word].ilog2() as usize)
    }

    /// The bins that are not empty from this one on, upwards.
    pub(super) fn filled_from(&self, bin: usize) -> impl Iterator<Item = usize> {
        let mut next = bin;
        iter::from_fn(move || {
            while next < BINS {
                let rest = self.filled[next / 64] >> (next % 64);
                if rest != 0 {
                    let found = next + rest.trailing_zeros() as usize;
                    next = found + 1;
                    return Some(found);
                }
                next = (next / 64 + 1) * 64;
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn bins_go_up_with_lengths() {
        assert!((1..16).all(|len| bin_of(len) == len as usize));
        for len in (1..10_000).chain([1 << 20, (1 << 31) - 1, u32::MAX - 1]) {
            let step = bin_of(len + 1) - bin_of(len);
            assert!(step <= 1, "{len}");
        }
        assert_eq!(bin_of(u32::MAX), BINS - 1);
    }

    #[test]
    fn filled_bins_are_found_in_order() {
        let mut bins = Bins::new();
        for bin in [0, 5, 63, 64, 130, BINS - 1] {
            bins.set_first(bin, 7);
        }
        bins.set_first(5, 0);
        assert_eq!(bins.filled_from(0).collect::<Vec<_>>(), [0, 63, 64, 130, BINS - 1]);
        assert_eq!(bins.filled_from(64).collect::<Vec<_>>(), [64, 130, BINS - 1]);
        assert_eq!(bins.filled_from(BINS).count(), 0);
        assert_eq!((bins.first(63), bins.first(5)), (7, 0));
    }
}
