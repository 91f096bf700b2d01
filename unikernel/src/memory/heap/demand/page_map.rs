//! What of a region is handed out, and how its blocks of 2 MiB are to be mapped: a bit a granule, a byte a block.
//!
//! Page faults read it without a lock that the faulting code could hold. Only who hands out and takes in changes bits, one
//! at a time, and only in blocks and granules that nobody may touch at that moment. Faults of several CPUs in one block come
//! one after the other, by a claim on the block, during which no handler runs.
//!
//! A fault maps neighbours, too, that are handed out to others. So a fault first claims, then looks at bits; who takes granules
//! in first clears bits, then waits until a claim that was there is gone, and only then unmaps. Fences (SeqCst) between the two
//! halves of either see to it that a fault sees the bits cleared, or else is seen and waited for. A handler that faults in the
//! middle has ended before that goes on.

use super::super::source::GRANULE_LEN;
use crate::memory::atomic::{AtomicU8, AtomicU64, Ordering, fence};
use crate::memory::page_size::{PageSize, Size2MiB};
#[cfg(not(loom))]
use core::hint::spin_loop;
use core::ops::Range;
#[cfg(loom)]
use loom::hint::spin_loop;

/// The length of a block in bytes: that of a large leaf, and of what a table of the last level translates.
pub const BLOCK_LEN: u64 = Size2MiB::LEN_BYTES;

/// Granules of a block, and words that their bits fill.
const GRANULES: u64 = BLOCK_LEN / GRANULE_LEN as u64;
const WORDS: usize = (GRANULES / u64::BITS as u64) as usize;
const _: () = assert!(GRANULES.is_multiple_of(u64::BITS as u64));

/// Set in a block's byte while a fault works on it.
const CLAIMED: u8 = 1 << 0;
/// Set while a large leaf may be tried.
const LARGE: u8 = 1 << 1;

/// The map of a region. Granules and blocks count from its start.
pub struct PageMap<'a> {
    words: &'a [AtomicU64],
    blocks: &'a [AtomicU8],
}

/// The right to map pages in a block, against other CPUs.
pub(super) struct Claim<'a>(&'a AtomicU8);

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // Release: partner is the Acquire of the next claim.
        self.0.fetch_and(!CLAIMED, Ordering::Release);
    }
}

impl<'a> PageMap<'a> {
    /// How many words a map of so many blocks needs; it needs as many bytes as there are blocks.
    #[must_use]
    pub const fn words_for(blocks: usize) -> usize {
        blocks * WORDS
    }

    /// A map with nothing handed out. `words` is as long as [`words_for`](Self::words_for) the `blocks` says, or the rest
    /// of the blocks can't be handed out.
    #[must_use]
    pub fn new(words: &'a [AtomicU64], blocks: &'a [AtomicU8]) -> Self {
        words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        blocks.iter().for_each(|block| block.store(0, Ordering::Relaxed));
        Self { words, blocks }
    }

    /// How many blocks it has.
    pub(super) const fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Waits until no fault of another CPU works on the block. No handler may run before the claim ends.
    pub(super) fn claim(&self, block: usize) -> Option<Claim<'a>> {
        let byte = self.blocks.get(block)?;
        while byte.fetch_or(CLAIMED, Ordering::Acquire) & CLAIMED != 0 {
            spin_loop();
        }
        // Partner is the fence of `settle`.
        fence(Ordering::SeqCst);
        Some(Claim(byte))
    }

    /// Waits until no fault that may have seen cleared bits as they were works on the block.
    pub(super) fn settle(&self, block: usize) {
        let Some(byte) = self.blocks.get(block) else { return };
        // Partner is the fence of `claim`.
        fence(Ordering::SeqCst);
        // Acquire: partner is the Release of the claim's end, so what the fault mapped is seen.
        while byte.load(Ordering::Acquire) & CLAIMED != 0 {
            spin_loop();
        }
    }

    /// Whether a large leaf may be tried in the block.
    pub(super) fn wants_large(&self, block: usize) -> bool {
        self.blocks.get(block).is_some_and(|byte| byte.load(Ordering::Relaxed) & LARGE != 0)
    }

    /// Says whether a large leaf may be tried in the block.
    pub(super) fn set_wants_large(&self, block: usize, wants: bool) {
        let Some(byte) = self.blocks.get(block) else { return };
        if wants {
            byte.fetch_or(LARGE, Ordering::Relaxed);
        } else {
            byte.fetch_and(!LARGE, Ordering::Relaxed);
        }
    }

    /// Whether the granule is handed out.
    pub(super) fn is_handed_out(&self, granule: u64) -> bool {
        let word = self.words.get((granule / 64) as usize);
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> (granule % 64) & 1 == 1)
    }

    /// Whether nothing of the block is handed out.
    pub(super) fn is_unused(&self, block: usize) -> bool {
        let words = self.words.get(block * WORDS..(block + 1) * WORDS).unwrap_or(&[]);
        words.iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }

    /// Makes blocks from `to` on like those of `from`, which are whole; both count in bytes.
    pub(super) fn copy(&self, from: &Range<u64>, to: u64) {
        for (from, to) in blocks_of(from).zip(to as usize / BLOCK_LEN as usize..) {
            for word in 0..WORDS {
                let [from, to] = [from, to].map(|block| self.words.get(block * WORDS + word));
                if let (Some(from), Some(to)) = (from, to) {
                    to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            }
            self.set_wants_large(to, self.wants_large(from));
        }
    }

    /// Notes of whole blocks that nothing is handed out.
    pub(super) fn forget(&self, bytes: Range<u64>) {
        self.clear(granules_of(&bytes));
        blocks_of(&bytes).for_each(|block| self.set_wants_large(block, false));
    }

    /// How many of these granules are handed out.
    pub(super) fn count(&self, granules: Range<u64>) -> u64 {
        let ones = |(word, mask): (&AtomicU64, u64)| (word.load(Ordering::Relaxed) & mask).count_ones();
        self.masks(granules).map(ones).map(u64::from).sum()
    }

    /// Hands granules out; those that are stay so.
    pub(super) fn set(&self, granules: Range<u64>) {
        self.masks(granules).for_each(|(word, mask)| {
            word.fetch_or(mask, Ordering::Relaxed);
        });
    }

    /// Takes granules in; says how many of them were handed out.
    pub(super) fn clear(&self, granules: Range<u64>) -> u64 {
        let clear =
            |(word, mask): (&AtomicU64, u64)| (word.fetch_and(!mask, Ordering::Relaxed) & mask).count_ones();
        self.masks(granules).map(clear).map(u64::from).sum()
    }

    /// The words of a range of granules, each with the mask of its part.
    fn masks(&self, granules: Range<u64>) -> impl Iterator<Item = (&'a AtomicU64, u64)> {
        let mut next = granules.start;
        core::iter::from_fn(move || {
            let bit = next % 64;
            let len = (64 - bit).min(granules.end.saturating_sub(next));
            let word = self.words.get((next / 64) as usize).filter(|_| len > 0)?;
            next += len;
            Some((word, (u64::MAX >> (64 - len)) << bit))
        })
    }
}

/// The blocks that a range of bytes from the region's start on touches.
pub(super) const fn blocks_of(bytes: &Range<u64>) -> Range<usize> {
    (bytes.start / BLOCK_LEN) as usize..bytes.end.div_ceil(BLOCK_LEN) as usize
}

/// The granules that a range of bytes from the region's start on touches.
pub(super) const fn granules_of(bytes: &Range<u64>) -> Range<u64> {
    bytes.start / GRANULE_LEN as u64..bytes.end.div_ceil(GRANULE_LEN as u64)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn with_map(blocks: usize, test: impl FnOnce(&PageMap<'_>)) {
        let words: Vec<_> = (0..PageMap::words_for(blocks)).map(|_| AtomicU64::new(u64::MAX)).collect();
        let blocks: Vec<_> = (0..blocks).map(|_| AtomicU8::new(u8::MAX)).collect();
        test(&PageMap::new(&words, &blocks));
    }

    #[test]
    fn granules_are_set_and_cleared_across_words_and_blocks() {
        with_map(3, |map| {
            for (start, end) in [(0, 1), (63, 65), (0, 128), (100, 300), (127, 129), (0, 384), (383, 384)] {
                map.set(start..end);
                assert_eq!(map.count(0..384), end - start);
                assert!(
                    (0..384).all(|granule| map.is_handed_out(granule) == (start..end).contains(&granule))
                );
                for block in 0..3 {
                    let used = start < (block + 1) * 128 && block * 128 < end;
                    assert_eq!(map.is_unused(block as usize), !used, "block {block} of {start}..{end}");
                }
                assert_eq!(map.clear(0..384), end - start);
            }
            assert!(!map.is_handed_out(384) && !map.wants_large(3), "beyond the end");
        });
    }

    #[test]
    fn a_claim_is_held_by_one_and_leaves_the_rest_of_the_byte() {
        with_map(1, |map| {
            map.set_wants_large(0, true);
            let claim = map.claim(0);
            assert!(claim.is_some() && map.wants_large(0));
            drop(claim);
            assert!(map.claim(0).is_some(), "it was given up");
            map.set_wants_large(0, false);
            assert!(!map.wants_large(0));
            assert!(map.claim(1).is_none(), "there is no such block");
        });
    }
}
