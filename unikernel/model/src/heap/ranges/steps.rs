//! One operation on the source and on the model.

use super::check::Ledger;
use super::owned::Owned;
use super::{Held, RangeOperation, World};
use core::alloc::Layout;
use core::ptr::NonNull;
use unikernel::memory::PAGE_LEN;
use unikernel::memory::heap::demand::BLOCK_LEN;
use unikernel::memory::heap::{End, GRANULE_LEN, RangeSource};

/// What the notes on all addresses take at most, with their table.
const NOTES_FRAMES_MAX: u64 = 32;

impl World<'_, '_> {
    pub(super) fn step(&mut self, operation: RangeOperation) {
        use RangeOperation as Op;
        let for_heap = |owned: &Owned| !owned.in_parts;
        match operation {
            Op::Take { granules, align_bytes, high, zeroed } => {
                self.take(granules, align_bytes, high, zeroed)
            }
            Op::Reserve { granules } => self.reserve(granules),
            Op::GiveBack { which } => {
                if let Some(start) = self.ranges.pick(which, |_| true) {
                    self.give_back(start);
                }
            }
            Op::Resize { which, granules } => {
                if let Some(start) = self.ranges.pick(which, for_heap) {
                    self.resize(start, granules * GRANULE_LEN);
                }
            }
            Op::Relocate { which, more } => {
                if let Some(start) = self.ranges.pick(which, |owned| !owned.in_parts && owned.was_large) {
                    self.relocate(start, more * GRANULE_LEN);
                }
            }
            Op::GiveBackPart { which, at, len_bytes } => self.give_back_part(which, at, len_bytes),
            Op::HandOutAgain { which, at, granules } => self.hand_out_again(which, at, granules),
            Op::Touch { which, at } => self.touch(which, at, 1),
            Op::TouchMany { which, at, granules } => self.touch(which, at, granules),
            // The last few lie behind the region.
            Op::Stray { granule } => {
                self.fault(granule * GRANULE_LEN % (self.ground.len_bytes + 4 * GRANULE_LEN));
            }
            Op::Trim => self.trim(),
            Op::Hold(hold) => {
                let free_frames = self.ground.free_frames();
                self.held.extend(Held::take(self.ground.cpu, hold, free_frames));
            }
            Op::Release { which } => {
                if !self.held.is_empty() {
                    drop(self.held.swap_remove(usize::from(which) % self.held.len()));
                }
            }
            Op::Redeem { which, frames } => {
                let mut held: Vec<_> = self.held.iter_mut().filter(|held| held.promised() > 0).collect();
                if !held.is_empty() {
                    let index = usize::from(which) % held.len();
                    held[index].redeem(frames);
                }
            }
        }
        self.check();
    }

    fn take(&mut self, granules: usize, align_bytes: usize, high: bool, zeroed: bool) {
        let Ok(layout) = Layout::from_size_align(granules * GRANULE_LEN, align_bytes) else { return };
        let end = if high { End::High } else { End::Low };
        let source = &mut self.ground.source;
        let taken = if zeroed { source.take_zeroed(layout, end) } else { source.take(layout, end) };
        match taken {
            Some(start) => self.add(start, layout, Owned::new(layout.size(), false)),
            None => self.check_refusal(layout),
        }
        if let (Some(start), true) = (taken, zeroed) {
            let byte = self.ground.byte(start);
            let mut pages = (byte..byte + layout.size()).step_by(GRANULE_LEN);
            let is_fresh = pages.all(|page| self.ground.leaf_at(page).is_none());
            assert!(is_fresh, "a page is mapped where zeros were asked for");
        }
    }

    fn reserve(&mut self, granules: usize) {
        let Ok(layout) = Layout::from_size_align(granules * GRANULE_LEN, GRANULE_LEN) else { return };
        match self.ground.source.reserve_pages(layout.size()) {
            Some(start) => self.add(start, layout, Owned::new(layout.size(), true)),
            None => self.check_refusal(layout),
        }
    }

    fn add(&mut self, start: NonNull<u8>, layout: Layout, owned: Owned) {
        assert!(start.addr().get().is_multiple_of(layout.align()), "{start:p} for {layout:?}");
        let byte = self.ground.byte(start);
        assert!(byte >= self.ground.notes_bytes() && byte + layout.size() <= self.ground.len_bytes);
        self.ranges.add(byte, owned);
    }

    /// A range is refused when nothing is kept any more, for want of frames or addresses.
    fn check_refusal(&mut self, layout: Layout) {
        self.ranges.loose.clear();
        let blocks = layout.size() as u64 / BLOCK_LEN + 2;
        let frames = layout.size() as u64 / PAGE_LEN + blocks + NOTES_FRAMES_MAX;
        let all = BLOCK_LEN as usize..self.ground.len_bytes;
        let has_addresses = self.ranges.has_addresses(all, layout.size(), layout.align());
        let free = self.ground.free_frames();
        assert!(free < frames || !has_addresses, "{layout:?} was refused, and {free} frames were free");
    }

    pub(super) fn give_back(&mut self, byte: usize) {
        let Some(owned) = self.ranges.owned.remove(&byte) else { return };
        let start = self.ground.start(byte);
        // SAFETY: it was taken, with this length by now; or reserved, and parts of it may be missing.
        unsafe {
            if owned.in_parts {
                self.ground.source.give_back_pages(start);
            } else {
                self.ground.source.give_back(start, owned.len_bytes);
                self.ranges.loose.push(byte..byte + owned.handed_out);
            }
        }
    }

    fn resize(&mut self, byte: usize, new_len: usize) {
        let start = self.ground.start(byte);
        let Some(owned) = self.ranges.owned.get(&byte).cloned() else { return };
        let (had, old_len) = (owned.handed_out, owned.len_bytes);
        let before = Ledger::of(&self.ground);
        if new_len > old_len {
            // SAFETY: the range was taken, with this length by now.
            if !unsafe { self.ground.source.grow(start, old_len, new_len) } {
                return assert_eq!(Ledger::of(&self.ground), before);
            }
            self.set_len(byte, new_len, had.max(new_len));
        } else if new_len < old_len {
            let handed_out = (self.ground.end_of_leaf(byte + new_len) - byte).min(had);
            // SAFETY: as above.
            unsafe { self.ground.source.shrink(start, old_len, new_len) };
            self.set_len(byte, new_len, handed_out);
        }
    }

    fn set_len(&mut self, byte: usize, len_bytes: usize, handed_out: usize) {
        if let Some(mut owned) = self.ranges.owned.remove(&byte) {
            owned.set_len(len_bytes, handed_out);
            self.ranges.add(byte, owned);
        }
    }

    fn relocate(&mut self, byte: usize, more: usize) {
        let start = self.ground.start(byte);
        let Some(mut owned) = self.ranges.owned.get(&byte).cloned() else { return };
        let before = Ledger::of(&self.ground);
        let old_len = owned.len_bytes;
        let Ok(new) = Layout::from_size_align(old_len + more, GRANULE_LEN) else { return };
        // SAFETY: the range was taken, with this length by now.
        let moved = unsafe { self.ground.source.relocate(start, old_len, new) };
        let after = Ledger::of(&self.ground);
        // What was kept may have gone, to make room, and notes on addresses; nothing else comes or goes.
        if after.pages() != before.pages() {
            assert!(after.pages().1 >= before.pages().1, "{after:?} after {before:?}");
            self.ranges.loose.clear();
        }
        let Some(moved) = moved else { return };
        owned.set_len(new.size(), owned.handed_out.max(new.size()));
        self.ranges.owned.remove(&byte);
        self.add(moved, new, owned);
    }

    fn touch(&mut self, which: u8, at: usize, granules: usize) {
        let Some(byte) = self.ranges.pick(which, |_| true) else { return };
        let Some(owned) = self.ranges.owned.get(&byte) else { return };
        let first = at % owned.len_bytes;
        let end = (first + granules * GRANULE_LEN).min(owned.handed_out);
        (first..end).step_by(GRANULE_LEN).for_each(|at| self.fault(byte + at));
    }

    pub(super) fn trim(&mut self) {
        self.ground.source.trim();
        self.ranges.loose.clear();
    }
}
