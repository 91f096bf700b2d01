//! Ranges whose parts go back, and are handed out again.

use super::page_map::BLOCK_LEN;
use super::pager::ClearFrames;
use super::ranges::DemandRanges;
use super::spare::Kept;
use crate::memory::heap::source::{End, GRANULE_LEN, RangeSource};
use crate::memory::page_table::Shootdown;
use core::alloc::Layout;
use core::ops::Range;
use core::ptr::NonNull;

impl<M: ClearFrames, F: Shootdown<M>> DemandRanges<'_, M, F> {
    /// Takes a range for a holder who may give back parts of it, of which no page is mapped.
    pub fn reserve_pages(&mut self, len_bytes: usize) -> Option<NonNull<u8>> {
        self.take_fresh_or_trim(Layout::from_size_align(len_bytes, GRANULE_LEN).ok()?, End::Low)
    }

    /// Takes back what was taken by [`reserve_pages`](Self::reserve_pages).
    ///
    /// # Safety
    /// It was, and is not used any more.
    pub unsafe fn give_back_pages(&mut self, start: NonNull<u8>) {
        // Not kept for the next, as parts may be missing.
        self.free(Kept { start: start.addr().get(), len_bytes: 0 });
    }

    /// Takes back all whole granules and leaves between two addresses, and says which bytes those are.
    ///
    /// # Safety
    /// They lie in a range that was taken by [`reserve_pages`](Self::reserve_pages), and are not used before they are handed
    /// out again.
    pub unsafe fn give_back_part(&mut self, part: Range<usize>) -> Range<usize> {
        let nothing = part.start..part.start;
        let Some(pager) = self.pager else { return nothing };
        let whole = part.start.next_multiple_of(GRANULE_LEN)..part.end - part.end % GRANULE_LEN;
        if whole.is_empty() {
            return nothing;
        }
        let [start, end] = [whole.start, whole.end].map(|address| (address - self.base) as u64);
        let start = pager.end_of_leaf(start);
        let end = if pager.end_of_leaf(end) == end { end } else { end - end % BLOCK_LEN };
        if start >= end {
            return nothing;
        }
        // SAFETY: the source is the only one; by the caller's promise they were handed out by it; no large leaf is cut.
        unsafe { pager.take_in(start..end, &self.shootdown) };
        self.base + start as usize..self.base + end as usize
    }

    /// Hands out all granules that these bytes touch, as far as they are not; says whether there was credit for them.
    ///
    /// # Safety
    /// They lie in a range that was taken by [`reserve_pages`](Self::reserve_pages).
    pub unsafe fn hand_out_again(&mut self, part: Range<usize>) -> bool {
        let Some(pager) = self.pager else { return false };
        if part.is_empty() {
            return true;
        }
        let bytes = (part.start - self.base) as u64..(part.end - self.base) as u64;
        // SAFETY: the source is the only one, and by the caller's promise the bytes lie in a range of the region.
        let hand_out = || unsafe { pager.hand_out(bytes.clone(), true) }.is_ok();
        hand_out()
            || self.spare.len_bytes() > 0 && {
                self.trim();
                hand_out()
            }
    }
}
