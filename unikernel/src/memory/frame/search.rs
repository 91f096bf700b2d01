//! Finding free frames in the bitmap: which area to try, and where in it.
//!
//! Small requests go to areas that are in use already, so that whole areas stay for 2 MiB frames. The hints make this
//! cheap for single frames; a run of many frames is looked for in every area that has as many, which takes long where
//! memory is in small pieces: who can use pieces asks for a batch.

use super::area::{AREA_FRAMES, WORD_FRAMES};
use super::bitmap::Bitmap;
use crate::memory::atomic::Ordering;

/// Where a CPU looks first for frames that need no whole area.
pub(super) struct Start<F> {
    /// The area where it found some last.
    pub(super) near: usize,
    /// Whether another CPU found some there last: two CPUs at one area slow each other down.
    pub(super) is_of_others: F,
}

impl Bitmap<'_> {
    /// Takes between 1 and `most` frames of one area, and returns the area. `sink` gets the index of each bitmap word
    /// with the mask of what was taken.
    pub(super) fn claim_anywhere(
        &self,
        start: &Start<impl Fn(usize) -> bool>,
        most: u64,
        mut sink: impl FnMut(usize, u64),
    ) -> Option<usize> {
        let mut attempt = |area| {
            let taken = self.claim_some(area, most, &mut sink) > 0;
            if !taken {
                self.nonempty.clear_unless(area, || self.counter(area) > 0);
            }
            taken.then_some(area)
        };
        // The hints are for speed; that there is nothing, only the counters can say.
        self.try_areas(start, &mut attempt)
            .or_else(|| (0..self.areas()).filter(|area| self.counter(*area) > 0).find_map(&mut attempt))
    }

    /// Takes `count` contiguous frames within one area, fewer than a whole one, and returns the first.
    pub(super) fn claim_run(&self, start: &Start<impl Fn(usize) -> bool>, count: u64) -> Option<u64> {
        self.try_areas(start, |area| {
            while self.counter(area) >= count {
                let first = self.find_run(area, count)?;
                if self.claim_exactly(first, count) {
                    return Some(first);
                }
            }
            None
        })
    }

    /// Takes `count` consecutive whole areas, the first a multiple of `align`, and returns it: the lowest there are.
    pub(super) fn claim_areas(&self, count: usize, align: usize) -> Option<usize> {
        let search = |from: usize, end: usize| {
            let mut from = from;
            loop {
                let first = self.whole.next_set(from, None)?.next_multiple_of(align);
                if first >= end || first.checked_add(count)? > self.areas() {
                    return None;
                }
                let behind = self.whole.next_clear(first);
                from = if behind.saturating_sub(first) < count {
                    behind.max(first + 1)
                } else {
                    match (first..first + count).find(|area| !self.claim_area(*area)) {
                        None => return Some(first),
                        Some(lost) => {
                            self.release(first as u64 * AREA_FRAMES, (lost - first) as u64 * AREA_FRAMES);
                            self.note_put_back();
                            self.whole.clear_unless(lost, || self.is_whole(lost));
                            lost + 1
                        }
                    }
                };
            }
        };
        search(0, self.areas())
    }

    /// Calls `attempt` with areas that may have free frames, until one succeeds: first `near`, then those in use in
    /// part by no other CPU, then those free as a whole, at last those in use by other CPUs.
    fn try_areas<T>(
        &self,
        start: &Start<impl Fn(usize) -> bool>,
        mut attempt: impl FnMut(usize) -> Option<T>,
    ) -> Option<T> {
        let near = start.near;
        if !self.is_whole(near)
            && let Some(found) = attempt(near)
        {
            return Some(found);
        }
        for which in [Which::InPart, Which::Whole, Which::OfOthers] {
            // Whole areas from the lowest up: memory that was used before is used again, and the host's is not touched anew.
            let from = if which == Which::Whole { 0 } else { near };
            for (from, end) in [(from, self.areas()), (0, from)] {
                let mut from = from;
                while let Some(area) = self.next_area(from, which).filter(|area| *area < end) {
                    if which == Which::Whole || (start.is_of_others)(area) == (which == Which::OfOthers) {
                        let found = attempt(area);
                        if found.is_some() {
                            return found;
                        }
                    }
                    from = area + 1;
                }
            }
        }
        None
    }

    fn next_area(&self, from: usize, which: Which) -> Option<usize> {
        match which {
            Which::InPart | Which::OfOthers => self.nonempty.next_set(from, Some(&self.whole)),
            Which::Whole => self.whole.next_set(from, None),
        }
    }

    /// The first frame of `count` contiguous free ones in an area, as far as one look can tell.
    fn find_run(&self, area: usize, count: u64) -> Option<u64> {
        let (first, words) = self.area_words(area);
        // Free frames that end where the word begins.
        let mut before = 0;
        for (index, word) in (first as u64..).zip(words) {
            let free = !word.load(Ordering::Relaxed);
            if before + u64::from(free.trailing_ones()) >= count {
                return Some(index * WORD_FRAMES - before);
            }
            let starts = starts_of_runs(free, count);
            if starts != 0 {
                return Some(index * WORD_FRAMES + u64::from(starts.trailing_zeros()));
            }
            before = if free == u64::MAX { before + WORD_FRAMES } else { u64::from(free.leading_ones()) };
        }
        None
    }
}

/// Areas by what the hints say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    InPart,
    Whole,
    OfOthers,
}

/// The bits of `free` at which `count` set bits in a row begin.
fn starts_of_runs(free: u64, count: u64) -> u64 {
    if count > WORD_FRAMES {
        return 0;
    }
    let (mut starts, mut len) = (free, 1);
    while len < count && starts != 0 {
        // `starts` has the places where `len` bits begin; two of those that far apart or less make a longer run.
        let step = len.min(count - len);
        starts &= starts >> step;
        len += step;
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_of_runs_agree_with_a_look_at_every_place() {
        let mut free = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..200 {
            free = free.rotate_left(7).wrapping_mul(0xbf58_476d_1ce4_e5b9) | free >> (round % 9);
            for count in 1..=64 {
                let begins = |bit: u64| (free >> bit).trailing_ones() as u64 >= count;
                let expected = (0..64).filter(|bit| begins(*bit)).fold(0, |mask, bit| mask | 1 << bit);
                assert_eq!(starts_of_runs(free, count), expected, "{free:#x} {count}");
            }
        }
        assert_eq!(starts_of_runs(u64::MAX, 65), 0);
    }
}
