//! The heap's source of ranges in a region whose pages come on demand.

use super::page_map::BLOCK_LEN;
use super::pager::{ClearFrames, Pager};
use super::spare::{Kept, Spare};
use crate::memory::PAGE_LEN;
use crate::memory::frame::OutOfFrames;
use crate::memory::heap::one_range::OneRange;
use crate::memory::heap::source::{End, GRANULE_LEN, RangeSource};
use crate::memory::page_table::Shootdown;
use core::alloc::Layout;
use core::ops::Range;
use core::ptr::NonNull;

/// Ranges of this length and more begin and end with a block, which large leaves can map.
const LARGE_FROM: usize = BLOCK_LEN as usize;

/// Of how many bytes that were free at first one is kept mapped when it is given back.
const SPARE_ONE_IN: u64 = 32;

/// A source in the region of a pager.
pub struct DemandRanges<'a, M: ClearFrames, F> {
    pub(super) pager: Option<&'a Pager<'a, M>>,
    /// Which addresses are given out. It knows nothing of pages.
    pub(super) addresses: OneRange,
    /// Where the region starts.
    pub(super) base: usize,
    /// What of the region the notes on the rest take.
    pub(super) notes_bytes: u64,
    /// Granules of the region that the source does not use yet.
    pub(super) unused: u32,
    /// Granules that it used at first.
    pub(super) granules_min: u32,
    pub(super) spare: Spare,
    pub(super) shootdown: F,
}

impl<'a, M: ClearFrames, F: Shootdown<M>> DemandRanges<'a, M, F> {
    /// A source that has nothing.
    #[must_use]
    pub const fn empty(shootdown: F) -> Self {
        let (addresses, spare) = (OneRange::empty(), Spare::new(0));
        Self { pager: None, addresses, base: 0, notes_bytes: 0, unused: 0, granules_min: 0, spare, shootdown }
    }

    /// The source of a pager, of which nothing was handed out. The notes on ranges lie at the start of the region, and are
    /// handed out to the source itself. At first it uses as many addresses as there are free frames, and some; more, with the
    /// notes on them, when those do not do.
    ///
    /// # Errors
    /// [`OutOfFrames`] if there is no credit for the notes.
    ///
    /// # Safety
    /// 1. It is the only one that hands out and takes in by this pager.
    /// 2. Through `start`, the start of the region, what is handed out can be accessed, as page faults lead to
    ///    [`Pager::page_in`].
    pub unsafe fn new(pager: &'a Pager<'a, M>, start: *mut u8, shootdown: F) -> Result<Self, OutOfFrames> {
        let all = (pager.region().len_bytes / GRANULE_LEN as u64) as u32;
        let first = OneRange::notes_bytes(all).next_multiple_of(BLOCK_LEN as usize);
        let usable = all - (first / GRANULE_LEN) as u32;
        let frames = (free_bytes(pager) / GRANULE_LEN as u64) as u32;
        let granules = (frames + frames / 4).clamp(1, usable);
        // SAFETY: 1; the bytes lie in the region, and nobody has anything of it.
        unsafe { pager.hand_out(0..OneRange::notes_bytes(granules) as u64, false) }?;
        // SAFETY: 2, the notes can be accessed, and the rest is not before it is handed out; 1, nobody else uses it. Notes of
        // all granules end before the first of those.
        let addresses = unsafe {
            let base = start.add(first);
            OneRange::apart(start, base, granules, u64::from(granules) * GRANULE_LEN as u64)
        };
        // SAFETY: 1.
        let mut source = unsafe { Self::over(pager, addresses, start.addr(), shootdown) };
        source.unused = usable - granules;
        Ok(source)
    }

    /// The source of a pager by these addresses, which are those of the region from `base` on, all of them free.
    ///
    /// # Safety
    /// As 1 for [`new`](Self::new).
    pub(super) unsafe fn over(
        pager: &'a Pager<'a, M>,
        addresses: OneRange,
        base: usize,
        shootdown: F,
    ) -> Self {
        let spare = Spare::new((free_bytes(pager) / SPARE_ONE_IN) as usize);
        let notes_bytes = pager.handed_out_bytes();
        let granules_min = addresses.granules();
        Self { pager: Some(pager), addresses, base, notes_bytes, unused: 0, granules_min, spare, shootdown }
    }

    /// The bytes of a range, from the start of the region on.
    fn bytes(&self, start: NonNull<u8>, len_bytes: usize) -> Range<u64> {
        let offset = (start.addr().get() - self.base) as u64;
        offset..offset + len_bytes as u64
    }

    /// Takes a range of which no page is mapped.
    fn take_fresh(&mut self, layout: Layout, end: End) -> Option<NonNull<u8>> {
        let pager = self.pager?;
        let is_large = layout.size() >= LARGE_FROM;
        let addresses = if is_large { whole_blocks(layout)? } else { layout };
        let start = self.take_addresses(addresses, end, layout.size())?;
        // SAFETY: the source is the only one, and the addresses are free.
        if unsafe { pager.hand_out(self.bytes(start, layout.size()), is_large) }.is_err() {
            // SAFETY: taken above.
            unsafe { self.addresses.give_back(start, addresses.size()) };
            self.retract();
            return None;
        }
        Some(start)
    }

    /// Takes a range of which no page is mapped; if there is none, once more without what is kept.
    pub(super) fn take_fresh_or_trim(&mut self, layout: Layout, end: End) -> Option<NonNull<u8>> {
        self.take_fresh(layout, end).or_else(|| {
            if self.spare.len_bytes() == 0 {
                return None;
            }
            self.trim();
            self.take_fresh(layout, end)
        })
    }

    /// Whether a range is as a new one of its length would be. Others are not kept: one that was shrunk inside of a large leaf has
    /// more addresses, and who is given it for its length would take old notes on those for starts of ranges.
    fn is_like_new(&self, start: NonNull<u8>, len_bytes: usize) -> bool {
        let addresses =
            if len_bytes < LARGE_FROM { len_bytes } else { len_bytes.next_multiple_of(LARGE_FROM) };
        let end = self.bytes(start, len_bytes).end;
        self.addresses.len_at(start) == addresses
            && self.pager.is_some_and(|pager| pager.end_of_leaf(end) == end)
    }

    /// Unmaps a range and frees its addresses.
    pub(super) fn free(&mut self, Kept { start, .. }: Kept) {
        let (Some(pager), Some(start)) = (self.pager, NonNull::new(self.addresses.at(start))) else { return };
        let len_bytes = self.addresses.len_at(start);
        // SAFETY: the source is the only one; the range was handed out by it, all of it, and came back.
        unsafe {
            pager.take_in(self.bytes(start, len_bytes), &self.shootdown);
            self.addresses.give_back(start, len_bytes);
        }
    }
}

/// The addresses of a range that begins and ends with a block.
fn whole_blocks(layout: Layout) -> Option<Layout> {
    let len_bytes = layout.size().checked_next_multiple_of(LARGE_FROM)?;
    Layout::from_size_align(len_bytes, layout.align().max(LARGE_FROM)).ok()
}

/// Bytes that could be promised at this moment, if no other CPU had frames at hand.
pub(super) fn free_bytes<M: ClearFrames>(pager: &Pager<'_, M>) -> u64 {
    let machine = pager.machine();
    let frames = machine.frames();
    let cached: u64 = frames.cached_runs().map(|(_, count)| count).sum();
    (frames.unpromised() + cached) * PAGE_LEN
}

// SAFETY: 1, the addresses do not overlap, by the same promise of `OneRange`, whose notes are handed out from the start; each
// page that is handed out is mapped when it is touched, and stays so until it is given back. 2, as for `OneRange`.
unsafe impl<M: ClearFrames, F: Shootdown<M>> RangeSource for DemandRanges<'_, M, F> {
    fn take(&mut self, layout: Layout, end: End) -> Option<NonNull<u8>> {
        match self.spare.take(layout) {
            Some(kept) => NonNull::new(self.addresses.at(kept.start)),
            None => self.take_fresh_or_trim(layout, end),
        }
    }

    fn take_zeroed(&mut self, layout: Layout, end: End) -> Option<NonNull<u8>> {
        self.take_fresh_or_trim(layout, end)
    }

    unsafe fn give_back(&mut self, start: NonNull<u8>, len_bytes: usize) {
        let kept = Kept { start: start.addr().get(), len_bytes };
        if !self.spare.is_wanted(len_bytes) || !self.is_like_new(start, len_bytes) {
            return self.free(kept);
        }
        while !self.spare.has_room(len_bytes)
            && let Some(oldest) = self.spare.take_oldest()
        {
            self.free(oldest);
        }
        self.spare.keep(kept);
    }

    unsafe fn grow(&mut self, start: NonNull<u8>, _: usize, new_len_bytes: usize) -> bool {
        let Some(pager) = self.pager else { return false };
        if new_len_bytes as u64 / PAGE_LEN > pager.machine().frames().frame_count() {
            return false;
        }
        let had = self.addresses.len_at(start);
        let is_large = new_len_bytes >= LARGE_FROM;
        let rounded = if is_large && start.addr().get().is_multiple_of(LARGE_FROM) {
            new_len_bytes.next_multiple_of(LARGE_FROM)
        } else {
            new_len_bytes
        };
        // SAFETY: the range was taken with the first length and grows to the second; what is added is handed out to who
        // has the rest, and taken away again if there is no credit.
        unsafe {
            if rounded > had && !self.addresses.grow(start, had, rounded) {
                return false;
            }
            if pager.hand_out(self.bytes(start, new_len_bytes), is_large).is_err() {
                if rounded > had {
                    self.addresses.shrink(start, rounded, had);
                }
                return false;
            }
        }
        true
    }

    unsafe fn relocate(&mut self, start: NonNull<u8>, _: usize, new: Layout) -> Option<NonNull<u8>> {
        let pager = self.pager?;
        let had = self.addresses.len_at(start);
        // Whole blocks that are this range's alone.
        let is_whole = start.addr().get().is_multiple_of(LARGE_FROM) && had.is_multiple_of(LARGE_FROM);
        let addresses = whole_blocks(new).filter(|_| is_whole)?;
        let moved = self.take_addresses(addresses, End::Low, new.size().saturating_sub(had))?;
        let (from, to) = (self.bytes(start, had), self.bytes(moved, new.size()));
        // SAFETY: the source is the only one; both are ranges of whole blocks, of which the second was just taken. The first
        // goes back when nothing is in it any more, or the second if nothing came into it.
        unsafe {
            let mut done = pager.relocate(from.clone(), to.clone(), &self.shootdown);
            if !done && self.spare.len_bytes() > 0 {
                self.trim();
                done = pager.relocate(from, to, &self.shootdown);
            }
            self.addresses
                .give_back(if done { start } else { moved }, if done { had } else { addresses.size() });
            if !done {
                self.retract();
            }
            done.then_some(moved)
        }
    }

    unsafe fn shrink(&mut self, start: NonNull<u8>, _: usize, new_len_bytes: usize) {
        let Some(pager) = self.pager else { return };
        let had = self.addresses.len_at(start);
        let Range { start: first, end } = self.bytes(start, new_len_bytes);
        let rest = pager.end_of_leaf(end)..first + had as u64;
        let mut keep = (rest.start - first) as usize;
        if start.addr().get().is_multiple_of(LARGE_FROM) && keep >= LARGE_FROM {
            keep = keep.next_multiple_of(LARGE_FROM);
        }
        // SAFETY: the source is the only one; the rest was handed out by it, and is not used any more; no large leaf is cut.
        unsafe {
            if !rest.is_empty() {
                pager.take_in(rest, &self.shootdown);
            }
            if keep < had {
                self.addresses.shrink(start, had, keep);
            }
        }
    }

    fn trim(&mut self) {
        while let Some(oldest) = self.spare.take_oldest() {
            self.free(oldest);
        }
        self.retract();
    }

    fn starts_at(&self, address: usize) -> bool {
        self.addresses.starts_at(address)
    }

    fn at(&self, address: usize) -> *mut u8 {
        self.addresses.at(address)
    }

    fn len_bytes(&self) -> u64 {
        self.pager.map_or(0, |pager| pager.handed_out_bytes() - self.notes_bytes + free_bytes(pager))
    }

    fn free_bytes(&self) -> u64 {
        self.pager.map_or(0, free_bytes) + self.spare.len_bytes() as u64
    }

    fn largest_free_bytes(&self) -> u64 {
        let frames = self.free_bytes() / PAGE_LEN;
        // Each block takes a frame for its table, and a range may begin and end inside of one.
        let pages = frames.saturating_sub(frames / (BLOCK_LEN / PAGE_LEN) + 2);
        let bytes = pages * PAGE_LEN;
        (bytes - bytes % GRANULE_LEN as u64)
            .min(self.addresses.largest_free_bytes().max(u64::from(self.unused) * GRANULE_LEN as u64))
    }

    fn overhead_bytes(&self) -> u64 {
        0
    }
}
