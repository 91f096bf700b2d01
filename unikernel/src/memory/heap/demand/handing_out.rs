//! Handing out and taking in, for the one who does: credit, the map, and unmapping.

use super::page_map::{BLOCK_LEN, blocks_of, granules_of};
use super::pager::{ClearFrames, GRANULE_FRAMES, Pager};
use crate::memory::PAGE_LEN;
use crate::memory::frame::{FrameBatch, FrameCredit, OutOfFrames};
use crate::memory::page_table::span::{Span, canonical};
use crate::memory::page_table::{Shootdown, flush};
use core::ops::Range;

impl<M: ClearFrames> Pager<'_, M> {
    /// Hands out granules that are not; says whether there was credit for them, and changes nothing if not. `large` says
    /// whether whole blocks, of which nothing was handed out before, may be mapped by large leaves.
    ///
    /// # Errors
    /// [`OutOfFrames`].
    ///
    /// # Safety
    /// It is called by the one who hands out and takes in, and in no two places at the same time; `bytes`, from the start
    /// of the region on, lie in it, and become the caller's one range with what it has beside them.
    pub(super) unsafe fn hand_out(&self, bytes: Range<u64>, large: bool) -> Result<(), OutOfFrames> {
        let granules = granules_of(&bytes);
        let fresh = granules.end - granules.start - self.map.count(granules.clone());
        let unused = blocks_of(&bytes).filter(|block| self.map.is_unused(*block));
        let credit = FrameCredit::reserve(self.machine, fresh * GRANULE_FRAMES + unused.count() as u64)?;
        self.deposit(credit);
        for block in blocks_of(&bytes) {
            let start = block as u64 * BLOCK_LEN;
            let is_whole = bytes.start <= start && start + BLOCK_LEN <= bytes.end;
            if is_whole && large && self.map.is_unused(block) {
                self.map.set_wants_large(block, true);
            }
        }
        self.map.set(granules);
        Ok(())
    }

    /// Takes granules in: unmaps, flushes and frees their pages, with the tables of blocks of which nothing is handed out
    /// any more, and gives back the credit of what was never touched.
    ///
    /// # Safety
    /// As for [`hand_out`](Self::hand_out); what is handed out of the bytes was so by it, for the caller, and is not used any
    /// more, and no edge lies inside a large leaf.
    pub(super) unsafe fn take_in(&self, bytes: Range<u64>, by: &impl Shootdown<M>) {
        let (mut frames, mut unused) = (0, 0);
        let (mut start, mut end) = (bytes.start, bytes.end);
        for block in blocks_of(&bytes) {
            let whole = block as u64 * BLOCK_LEN..(block as u64 + 1) * BLOCK_LEN;
            let part = whole.start.max(bytes.start)..whole.end.min(bytes.end);
            let is_large = self.has_large_leaf(block);
            let cleared = self.map.clear(granules_of(&part));
            self.map.settle(block);
            frames += cleared * GRANULE_FRAMES;
            // What is left of a block is not a whole one.
            self.map.set_wants_large(block, false);
            if cleared > 0 && self.map.is_unused(block) {
                unused += u64::from(!is_large);
                // Rule 1: all of such a block is the caller's.
                (start, end) = (start.min(whole.start), end.max(whole.end));
            }
        }
        let span = Span { start: self.region.start + start, end: self.region.start + end };
        // SAFETY: 1, it is the region's. 2, by rules 1 and 2.
        let range = unsafe { self.piece(span) };
        let Ok(detached) = range.detach_leaf_tables() else {
            unreachable!("by the caller's promise no large leaf is cut")
        };
        let freed = flush(detached, by).release_counted().1;
        let never_came = (frames + unused).checked_sub(freed.leaf_frames + freed.tables);
        let Some(credit) = never_came.and_then(|frames| self.withdraw(frames)) else {
            unreachable!("what was handed out has credit or frames")
        };
        drop(credit);
    }

    /// Moves what is handed out and mapped in `from` to `to`, which is longer, at the same distance from the start, and hands
    /// the rest of that out; says whether it could, and changes nothing if not.
    ///
    /// # Safety
    /// As for [`hand_out`](Self::hand_out); `from` are whole blocks, handed out as one range, which nobody uses meanwhile, and of
    /// the blocks that `to` touches nothing is.
    pub(super) unsafe fn relocate(&self, from: Range<u64>, to: Range<u64>, by: &impl Shootdown<M>) -> bool {
        let len_bytes = from.end - from.start;
        self.map.copy(&from, to.start);
        // SAFETY: the caller's promise; what is handed out of the blocks by now is counted where it comes from.
        if to.end - to.start < len_bytes || unsafe { self.hand_out(to.clone(), true) }.is_err() {
            self.map.forget(to.start..to.start + len_bytes);
            return false;
        }
        let span = |start: u64| Span {
            start: self.region.start + start,
            end: self.region.start + start + len_bytes,
        };
        // SAFETY: 1, both are the region's. 2, by the caller's promise nobody uses them.
        let (source, target) = unsafe { (self.piece(span(from.start)), self.piece(span(to.start))) };
        // Whole blocks cut no leaf, their tables go as a whole, and nothing is in the way where nothing was handed out.
        let mut no_tables = FrameBatch::new(self.machine);
        let detached = source.detach_leaf_tables().map_err(|rejected| rejected.error);
        let moved = detached.map(|detached| flush(detached, by).move_to(target, &mut no_tables).is_ok());
        let Ok(true) = moved else { unreachable!("whole blocks go to where nothing is: {moved:?}") };
        self.map.forget(from);
        true
    }

    /// The end of the large leaf that `offset`, from the region's start on, lies inside of, or else `offset`.
    pub(super) fn end_of_leaf(&self, offset: u64) -> u64 {
        if self.has_large_leaf((offset / BLOCK_LEN) as usize) {
            offset.next_multiple_of(BLOCK_LEN)
        } else {
            offset
        }
    }

    /// Whether a large leaf maps the block.
    pub(super) fn has_large_leaf(&self, block: usize) -> bool {
        let at = self.region.start + block as u64 * BLOCK_LEN;
        let first = Span::page(at);
        // SAFETY: 1, it is the region's. 2, the piece only reads.
        let leaf = || unsafe { self.piece(first) }.query(canonical(at));
        self.region.contains(first) && leaf().is_some_and(|leaf| leaf.range.len_bytes > PAGE_LEN)
    }
}
