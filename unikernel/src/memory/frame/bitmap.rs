//! The truth about free frames, shared by all CPUs without a lock: a bit a frame, and a counter an area.
//!
//! Protocol:
//! - To take frames, first subtract from the counter of the area, then set bits that were clear.
//! - To give frames back, first clear bits that were set, then add to the counter.
//! - So the counter of an area plus what is subtracted and not yet claimed is never more than its clear bits. Whoever
//!   has subtracted finds as many clear bits without waiting for anyone: this holds for a handler too that interrupted
//!   another operation in its middle. Only a contiguous run may be missing, and then the count goes back.
//! - A counter that goes from a whole area to 0 in one step means that all bits were clear and nobody was about to
//!   set one: the area belongs to who did it, and plain stores may fill its words.
//!
//! A search that meets a counter below what it wants may come too early for frames that were given back behind it. Who
//! puts frames back that it had subtracted, and tries elsewhere, counts that in [`Bitmap::put_backs`]; what is released
//! is counted in [`Unpromised`](super::unpromised::Unpromised).
//!
//! Only a bit that changes from set to clear is ever counted. So what is freed twice changes nothing but a number in
//! the statistics.
//!
//! Contents: who frees a frame wrote to it before; who takes it writes after. Freeing clears the bit with Release, and
//! taking sets it with Acquire, or acquires the counter, to which the one who frees adds with Release afterwards.
//! All changes in between are read-modify-write operations, which keep such a pair connected.

use super::area::{AREA_FRAMES, AREA_WORDS, WORD_FRAMES, lowest_bits, masks};
use super::hints::Hints;
use crate::memory::atomic::{AtomicU16, AtomicU64, Ordering};
#[cfg(not(loom))]
use core::hint::spin_loop;
#[cfg(loom)]
use loom::hint::spin_loop;

const WHOLE: u16 = AREA_FRAMES as u16;

/// Bits, counters and hints.
#[derive(Debug)]
pub(super) struct Bitmap<'a> {
    words: &'a [AtomicU64],
    counters: &'a [AtomicU16],
    pub(super) nonempty: Hints<'a>,
    pub(super) whole: Hints<'a>,
    double_frees: AtomicU64,
    put_backs: AtomicU64,
}

impl<'a> Bitmap<'a> {
    /// A bitmap in these arrays, whose lengths fit together, with nothing free.
    pub(super) fn new(
        words: &'a [AtomicU64],
        counters: &'a [AtomicU16],
        nonempty: &'a [AtomicU64],
        whole: &'a [AtomicU64],
    ) -> Self {
        for word in words {
            word.store(u64::MAX, Ordering::Relaxed);
        }
        for counter in counters {
            counter.store(0, Ordering::Relaxed);
        }
        let (nonempty, whole) = (Hints::new(nonempty), Hints::new(whole));
        Self {
            words,
            counters,
            nonempty,
            whole,
            double_frees: AtomicU64::new(0),
            put_backs: AtomicU64::new(0),
        }
    }

    /// How many areas there are.
    pub(super) fn areas(&self) -> usize {
        self.counters.len()
    }

    /// Free frames of an area that nobody has begun to take; 0 beyond the end.
    pub(super) fn counter(&self, area: usize) -> u64 {
        // Acquire: partner is the Release of who subtracted; see `put_backs`.
        self.counters.get(area).map_or(0, |counter| u64::from(counter.load(Ordering::Acquire)))
    }

    /// Whether the area is free as a whole, as far as one look can tell.
    pub(super) fn is_whole(&self, area: usize) -> bool {
        self.counter(area) == AREA_FRAMES
    }

    /// Whether it is a frame of the bitmap that is not free.
    #[inline]
    pub(super) fn is_taken(&self, frame: u64) -> bool {
        let word = self.words.get((frame / WORD_FRAMES) as usize);
        // Relaxed: used to find mistakes and for the audit.
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> (frame % WORD_FRAMES) & 1 == 1)
    }

    /// Whether it is an area in whose first word no frame is free. The other seven would cost more than all the rest of
    /// giving an area back.
    #[inline]
    pub(super) fn looks_taken(&self, area: usize) -> bool {
        let word = self.words.get(area.saturating_mul(AREA_WORDS));
        word.is_some_and(|word| word.load(Ordering::Relaxed) == u64::MAX)
    }

    /// How many frames were freed that were free.
    pub(super) fn double_frees(&self) -> u64 {
        self.double_frees.load(Ordering::Relaxed)
    }

    /// Counts frees that had no effect.
    #[cold]
    pub(super) fn count_double_frees(&self, frames: u64) {
        self.double_frees.fetch_add(frames, Ordering::Relaxed);
    }

    /// How often frames were subtracted somewhere and put back, since others had claimed their bits. A search between
    /// two equal numbers did not see the same frames missing in two places.
    pub(super) fn put_backs(&self) -> u64 {
        // Acquire: partner is the Release in `note_put_back`. Only a read-modify-write operation is sure to see the
        // last one.
        self.put_backs.fetch_add(0, Ordering::Acquire)
    }

    /// Counts frames that are in the counters again, before the same are subtracted elsewhere.
    #[cold]
    pub(super) fn note_put_back(&self) {
        // Release: partner is the Acquire in `put_backs`.
        self.put_backs.fetch_add(1, Ordering::Release);
    }

    /// The bitmap words of an area with the index of the first; none beyond the end.
    #[inline]
    pub(super) fn area_words(&self, area: usize) -> (usize, &'a [AtomicU64]) {
        let first = area.saturating_mul(AREA_WORDS);
        (first, self.words.get(first..first.saturating_add(AREA_WORDS)).unwrap_or(&[]))
    }

    /// Takes between 1 and `most` frames of an area, anywhere in it. `sink` gets the index of each bitmap word with
    /// the mask of frames that now belong to the caller. Returns their number, 0 if the area has none.
    pub(super) fn claim_some(&self, area: usize, most: u64, mut sink: impl FnMut(usize, u64)) -> u64 {
        let wanted = self.subtract(area, 1, most);
        let mut left = wanted;
        while left > 0 {
            let (first, words) = self.area_words(area);
            for (index, word) in (first..).zip(words) {
                // Relaxed: only a guess, which the next line puts to the test.
                let mask = lowest_bits(!word.load(Ordering::Relaxed), left);
                if mask == 0 {
                    continue;
                }
                // Acquire: partner is the Release in `clear`; what the last owner did to the frames is over.
                let claimed = mask & !word.fetch_or(mask, Ordering::Acquire);
                if claimed != 0 {
                    left -= u64::from(claimed.count_ones());
                    sink(index, claimed);
                }
            }
            if left < wanted {
                if left > 0 {
                    self.add(area, left);
                    self.note_put_back();
                }
                return wanted - left;
            }
            // Others freed and claimed in this area while it was searched: each time round, one of them succeeded.
            if left > 0 {
                spin_loop();
            }
        }
        wanted
    }

    /// Takes a whole area, if all of it is free.
    pub(super) fn claim_area(&self, area: usize) -> bool {
        let Some(counter) = self.counters.get(area) else { return false };
        // Acquire: partner is the Release in `add`. All who ever freed in this area added to this counter after they
        // had cleared their bits, so their clearing comes before the stores below, and their writes to the frames
        // before those of the new owner. Release: partner is the Acquire in `counter`.
        if counter.compare_exchange(WHOLE, 0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        for word in self.area_words(area).1 {
            // Relaxed: nobody else touches the words until the new owner frees, with Release.
            word.store(u64::MAX, Ordering::Relaxed);
        }
        self.whole.clear_unless(area, || self.is_whole(area));
        true
    }

    /// Takes the frames `first..first + count`, which lie in one area, and says whether it could: if others have some
    /// of them, it takes none.
    pub(super) fn claim_exactly(&self, first: u64, count: u64) -> bool {
        let area = (first / AREA_FRAMES) as usize;
        if self.subtract(area, count, count) == 0 {
            return false;
        }
        let mut claimed_frames = 0;
        for (index, mask) in masks(first, count) {
            // Acquire: as in `claim_some`.
            let claimed =
                self.words.get(index).map_or(0, |word| mask & !word.fetch_or(mask, Ordering::Acquire));
            if claimed != mask {
                self.clear(index, claimed);
                for (index, mask) in masks(first, claimed_frames) {
                    self.clear(index, mask);
                }
                self.add(area, count);
                self.note_put_back();
                return false;
            }
            claimed_frames += u64::from(mask.count_ones());
        }
        true
    }

    /// Gives back `count` frames from number `first` on, and returns how many of them had not been free.
    pub(super) fn release(&self, first: u64, count: u64) -> u64 {
        let (mut next, end) = (first, first.saturating_add(count));
        let mut released = 0;
        while next < end {
            let area = next / AREA_FRAMES;
            let behind = end.min((area + 1).saturating_mul(AREA_FRAMES));
            let cleared = masks(next, behind - next).map(|(index, mask)| self.clear(index, mask)).sum();
            self.add(area as usize, cleared);
            released += cleared;
            next = behind;
        }
        if released < count {
            self.count_double_frees(count - released);
        }
        released
    }

    /// Gives back the frames in one bitmap word, and returns how many of them had not been free.
    pub(super) fn release_word(&self, index: usize, mask: u64) -> u64 {
        let cleared = self.clear(index, mask);
        self.add(index / AREA_WORDS, cleared);
        let missing = u64::from(mask.count_ones()) - cleared;
        if missing > 0 {
            self.count_double_frees(missing);
        }
        cleared
    }

    /// Clears bits, and says how many of them were set.
    fn clear(&self, index: usize, mask: u64) -> u64 {
        let Some(word) = self.words.get(index) else { return 0 };
        // Release: partner is the Acquire of who claims the frames next.
        u64::from((word.fetch_and(!mask, Ordering::Release) & mask).count_ones())
    }

    /// Loses count of a free frame, for a test that has to find it.
    #[cfg(test)]
    #[cfg(not(loom))]
    pub(super) fn miscount(&self, area: usize) {
        self.counters[area].fetch_sub(1, Ordering::Relaxed);
    }

    /// Adds to the counter of an area as many frames as were cleared in it.
    fn add(&self, area: usize, frames: u64) {
        let Some(counter) = self.counters.get(area).filter(|_| frames > 0) else { return };
        // Release: partners are the Acquires in `claim_area` and `subtract`.
        let before = counter.fetch_add(frames as u16, Ordering::Release);
        if before == 0 {
            self.nonempty.set(area);
        }
        if u64::from(before) + frames == AREA_FRAMES {
            self.whole.set(area);
        }
    }

    /// Subtracts at least `least` and at most `most` frames from the counter of an area, as many as it has, and says
    /// how many: 0 if there are fewer than `least`.
    fn subtract(&self, area: usize, least: u64, most: u64) -> u64 {
        let Some(counter) = self.counters.get(area) else { return 0 };
        // Acquire, for who finds too few: as in `counter`.
        let mut before = counter.load(Ordering::Acquire);
        loop {
            let frames = most.min(u64::from(before));
            if frames < least || frames == 0 {
                return 0;
            }
            // Acquire: partner is the Release in `add`, so that the clear bits that were counted are seen, and one
            // look at each word of the area finds them. Release: partner is the Acquire in `counter`.
            let after = before - frames as u16;
            match counter.compare_exchange_weak(before, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if before == WHOLE => {
                    self.whole.clear_unless(area, || self.is_whole(area));
                    return frames;
                }
                Ok(_) => return frames,
                Err(current) => before = current,
            }
        }
    }
}
