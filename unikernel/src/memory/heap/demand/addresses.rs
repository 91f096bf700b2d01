//! The addresses of ranges: more of the region are used when those in use do not do, and given up when they are free again.

use super::page_map::BLOCK_LEN;
use super::pager::ClearFrames;
use super::ranges::{DemandRanges, free_bytes};
use crate::memory::PAGE_LEN;
use crate::memory::heap::one_range::OneRange;
use crate::memory::heap::source::{End, GRANULE_LEN, RangeSource};
use crate::memory::page_table::Shootdown;
use core::alloc::Layout;
use core::ptr::NonNull;

impl<M: ClearFrames, F: Shootdown<M>> DemandRanges<'_, M, F> {
    /// Takes addresses, of which so many bytes will need credit: more are only used if there could be as much.
    pub(super) fn take_addresses(
        &mut self,
        layout: Layout,
        end: End,
        new_bytes: usize,
    ) -> Option<NonNull<u8>> {
        let pager = self.pager?;
        // Before any address is looked for: the notes on a range are pages, too.
        if layout.size() as u64 / PAGE_LEN > pager.machine().frames().frame_count() + BLOCK_LEN / PAGE_LEN {
            return None;
        }
        loop {
            match self.addresses.take(layout, end) {
                Some(start) => return Some(start),
                None if free_bytes(pager) >= new_bytes as u64 && self.extend() => {}
                None => {
                    self.retract();
                    return None;
                }
            }
        }
    }

    /// Uses more addresses; says whether there were more.
    fn extend(&mut self) -> bool {
        let Some(pager) = self.pager else { return false };
        let used = self.addresses.granules();
        let more = (used / 2).min(self.unused);
        let notes = OneRange::notes_bytes(used + more) as u64;
        // SAFETY: the source is the only one, and has the notes for itself.
        if more == 0 || unsafe { pager.hand_out(0..notes, false) }.is_err() {
            return false;
        }
        self.unused -= more;
        self.notes_bytes = notes.next_multiple_of(GRANULE_LEN as u64);
        // SAFETY: their notes were just handed out, and the region has so many granules.
        unsafe { self.addresses.extend(more) };
        true
    }

    /// Gives the addresses up that were used in addition, as far as they are free at the end, with the notes on them.
    pub(super) fn retract(&mut self) {
        let Some(pager) = self.pager else { return };
        let before = self.addresses.granules();
        self.addresses.retract(self.granules_min);
        let after = self.addresses.granules();
        let notes = (OneRange::notes_bytes(after) as u64).next_multiple_of(GRANULE_LEN as u64);
        if after < before && notes < self.notes_bytes {
            // SAFETY: the source is the only one, and uses these notes no more.
            unsafe { pager.take_in(notes..self.notes_bytes, &self.shootdown) };
            self.notes_bytes = notes;
        }
        self.unused += before - after;
    }
}
