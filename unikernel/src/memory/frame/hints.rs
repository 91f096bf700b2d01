//! Where to look for free frames: a bit an area, so that a search passes 64 areas with one load.
//!
//! The bits are hints. A wrong one costs time, never a frame: the counter of the area decides. Two rules keep them
//! from staying wrong:
//! - Who makes the condition true changes the counter first, then sets the bit.
//! - Who finds the condition false clears the bit first, then looks at the counter again, and sets the bit back if the
//!   condition holds. Either the other's setting comes after the clearing, or the second look sees the other's counter.

use super::area::{WORD_FRAMES, bits};
use crate::memory::atomic::{AtomicU64, Ordering};

/// One bit an area.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hints<'a>(&'a [AtomicU64]);

impl<'a> Hints<'a> {
    /// Hints in this array, all clear.
    pub(super) fn new(words: &'a [AtomicU64]) -> Self {
        for word in words {
            word.store(0, Ordering::Relaxed);
        }
        Self(words)
    }

    fn place(&self, area: usize) -> Option<(&'a AtomicU64, u64)> {
        Some((self.0.get(area / WORD_FRAMES as usize)?, 1 << (area as u64 % WORD_FRAMES)))
    }

    /// Notes that the condition came true; the counter that says so was changed before.
    pub(super) fn set(&self, area: usize) {
        if let Some((word, bit)) = self.place(area) {
            // Release: partner is the Acquire of `clear_unless`, whose second look must see the counter.
            word.fetch_or(bit, Ordering::Release);
        }
    }

    /// Notes that the condition was seen to be false, unless a second look says otherwise.
    pub(super) fn clear_unless(&self, area: usize, holds: impl FnOnce() -> bool) {
        let Some((word, bit)) = self.place(area) else { return };
        // Acquire: partner is the Release of `set`.
        if word.fetch_and(!bit, Ordering::Acquire) & bit != 0 && holds() {
            self.set(area);
        }
    }

    /// The first area from `from` up whose bit is set, and set in no word of `except`.
    pub(super) fn next_set(&self, from: usize, except: Option<&Self>) -> Option<usize> {
        self.next(from, |index, word| word & !except.map_or(0, |except| except.load(index)))
    }

    /// The first area from `from` up whose bit is clear; at most the length of the array in bits.
    pub(super) fn next_clear(&self, from: usize) -> usize {
        self.next(from, |_, word| !word).unwrap_or(self.0.len() * WORD_FRAMES as usize)
    }

    fn load(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    #[inline]
    fn next(&self, from: usize, map: impl Fn(usize, u64) -> u64) -> Option<usize> {
        let mut index = from / WORD_FRAMES as usize;
        let mut wanted = bits(from as u64 % WORD_FRAMES, WORD_FRAMES);
        while let Some(word) = self.0.get(index) {
            let found = map(index, word.load(Ordering::Relaxed)) & wanted;
            if found != 0 {
                return Some(index * WORD_FRAMES as usize + found.trailing_zeros() as usize);
            }
            wanted = u64::MAX;
            index += 1;
        }
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn searches_cross_words_and_end() {
        let words = [const { AtomicU64::new(u64::MAX) }; 3];
        let hints = Hints::new(&words);
        assert_eq!(hints.next_set(0, None), None);
        for area in [3, 63, 64, 191] {
            hints.set(area);
        }
        assert_eq!(hints.next_set(0, None), Some(3));
        assert_eq!(hints.next_set(4, None), Some(63));
        assert_eq!(hints.next_set(65, None), Some(191));
        assert_eq!(hints.next_set(192, None), None);
        assert_eq!(hints.next_clear(63), 65);
        assert_eq!(hints.next_clear(191), 192);
    }

    #[test]
    fn an_excepted_area_is_passed() {
        let (words, others) = ([const { AtomicU64::new(0) }; 2], [const { AtomicU64::new(0) }; 2]);
        let (hints, except) = (Hints::new(&words), Hints::new(&others));
        hints.set(5);
        hints.set(70);
        except.set(5);
        assert_eq!(hints.next_set(0, Some(&except)), Some(70));
        assert_eq!(hints.next_set(0, None), Some(5));
    }

    #[test]
    fn a_condition_that_holds_at_the_second_look_stays() {
        let words = [const { AtomicU64::new(0) }];
        let hints = Hints::new(&words);
        hints.set(7);
        hints.clear_unless(7, || true);
        assert_eq!(hints.next_set(0, None), Some(7));
        hints.clear_unless(7, || false);
        assert_eq!(hints.next_set(0, None), None);
        hints.clear_unless(7, || true);
        assert_eq!(hints.next_set(0, None), None, "a bit that was clear stays so");
    }
}
