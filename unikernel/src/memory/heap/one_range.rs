//! A source of ranges over one range of addresses, all of it mapped.
//!
//! Free and used runs of granules lie side by side. Each granule has a note, in an array at the start of the range. Only
//! the notes of the first and the last granule of a run are valid, the others hold what they held before; used runs up to
//! [`MARKED_LEN_MAX`], of which all notes are, are the exception. So a run is split and joined with its neighbours by
//! writing a few notes, however long it is, and starting writes four of them. Free runs are found by their length, in
//! `bins`.

use super::bins::{Bins, bin_of};
use super::source::{End, GRANULE_LEN, MARKED_LEN_MAX, RangeSource};
use core::alloc::Layout;
use core::ops::Range;
use core::ptr::{self, NonNull};

/// Runs of a bin that are looked at before longer ones are.
const WALK: usize = 16;

/// Set in the tags of free runs, beside the length.
const FREE: u32 = 1 << 31;

/// The note on a granule. Granules count from 1, so that 0 is none; the notes 0 and last + 1 are of used runs that are
/// joined with nothing.
#[derive(Clone, Copy)]
struct Note {
    /// The length of the run that starts or ends here, and whether it is [`FREE`].
    tag: u32,
    /// Where the next run of the same bin starts, if a free run starts here.
    next: u32,
    /// Where the previous one starts.
    previous: u32,
}

/// A source over one range.
pub struct OneRange {
    notes: *mut Note,
    /// Where granule 1 starts.
    base: *mut u8,
    granules: u32,
    free: u32,
    bins: Bins,
    len_bytes: u64,
}

// SAFETY: the pointers are to memory that belongs to the source alone, wherever it goes.
unsafe impl Send for OneRange {}

impl OneRange {
    /// A source without memory.
    #[must_use]
    pub const fn empty() -> Self {
        let (notes, base) = (ptr::null_mut(), ptr::null_mut());
        Self { notes, base, granules: 0, free: 0, bins: Bins::new(), len_bytes: 0 }
    }

    /// A source of the range. One that is too short for a granule and its notes gives nothing.
    ///
    /// # Safety
    /// The range can be read and written through the pointer, and is used by nobody else from now on.
    pub unsafe fn new(start: *mut u8, len_bytes: usize) -> Self {
        let Some(Parts { first_note, base, granules }) = Parts::of(start, len_bytes) else {
            return Self { len_bytes: len_bytes as u64, ..Self::empty() };
        };
        // SAFETY: that many bytes fit into the range, and the rest is the caller's promise.
        unsafe { Self::apart(start.add(first_note), start.add(base), granules, len_bytes as u64) }
    }

    /// A source of so many granules, at least one, from `base` on, with its notes elsewhere.
    ///
    /// # Safety
    /// [`notes_bytes`](Self::notes_bytes) of notes can be written through the pointer, which is aligned for them, and are used
    /// by nobody else. The granules have to be memory when they are given out and used.
    pub(super) unsafe fn apart(notes: *mut u8, base: *mut u8, granules: u32, len_bytes: u64) -> Self {
        let mut source = Self { notes: notes.cast(), base, granules, len_bytes, ..Self::empty() };
        source.write_used(0, 1);
        source.write_used(granules + 1, 1);
        source.insert(1, granules);
        source
    }

    /// How many granules there are, given out or not.
    pub(super) const fn granules(&self) -> u32 {
        self.granules
    }

    /// How many bytes the notes on so many granules take.
    pub(super) const fn notes_bytes(granules: u32) -> usize {
        // One more on either side of the granules'.
        (granules as usize + 2) * size_of::<Note>()
    }

    /// Adds granules that follow the last.
    ///
    /// # Safety
    /// As for [`apart`](Self::apart), for the notes that this makes more, and for the granules.
    pub(super) unsafe fn extend(&mut self, more: u32) {
        let end = self.granules + 1;
        self.granules += more;
        self.len_bytes += u64::from(more) * GRANULE_LEN as u64;
        self.write_used(self.granules + 1, 1);
        self.write_used(end, more);
        self.free_run(end, more);
    }

    /// Gives up free granules at the end, so that no fewer than `least` stay.
    pub(super) fn retract(&mut self, least: u32) {
        let tag = self.note(self.granules).tag;
        if tag & FREE == 0 || self.granules <= least {
            return;
        }
        let start = self.granules + 1 - (tag & !FREE);
        let last = least.max(start - 1);
        self.remove(start);
        if start <= last {
            self.insert(start, last + 1 - start);
        }
        self.len_bytes -= u64::from(self.granules - last) * GRANULE_LEN as u64;
        self.granules = last;
        self.write_used(last + 1, 1);
    }

    /// The length that the range which starts here is given out with.
    pub(super) fn len_at(&self, start: NonNull<u8>) -> usize {
        self.note(self.granule_at(start.addr().get())).tag as usize * GRANULE_LEN
    }

    fn note(&self, granule: u32) -> Note {
        debug_assert!(granule <= self.granules + 1);
        // SAFETY: the notes lie in the range, which has one for this granule; they are only reached through `self`.
        unsafe { self.notes.add(granule as usize).read() }
    }

    fn write(&mut self, granule: u32, note: Note) {
        debug_assert!(granule <= self.granules + 1);
        // SAFETY: as above.
        unsafe { self.notes.add(granule as usize).write(note) }
    }

    fn write_used(&mut self, start: u32, len: u32) {
        let note = Note { tag: len, next: 0, previous: 0 };
        if len <= granules_in(MARKED_LEN_MAX) {
            // 0 says for these that the run does not start here.
            (start + 1..start + len).for_each(|granule| self.write(granule, Note { tag: 0, ..note }));
        }
        self.write(start, note);
        if len > granules_in(MARKED_LEN_MAX) {
            self.write(start + len - 1, note);
        }
    }

    /// Writes a free run down, and enters it into its bin.
    fn insert(&mut self, start: u32, len: u32) {
        self.free += len;
        let bin = bin_of(len);
        let next = self.bins.first(bin);
        let tag = FREE | len;
        self.write(start + len - 1, Note { tag, next: 0, previous: 0 });
        self.write(start, Note { tag, next, previous: 0 });
        if next != 0 {
            let note = self.note(next);
            self.write(next, Note { previous: start, ..note });
        }
        self.bins.set_first(bin, start);
    }

    /// Makes a used run a free one, joined with free neighbours.
    fn free_run(&mut self, mut start: u32, mut len: u32) {
        let left = self.note(start - 1).tag;
        if left & FREE != 0 {
            start -= left & !FREE;
            len += left & !FREE;
            self.remove(start);
        }
        let right = self.note(start + len).tag;
        if right & FREE != 0 {
            self.remove(start + len);
            len += right & !FREE;
        }
        self.insert(start, len);
    }

    /// Takes a free run out of its bin.
    fn remove(&mut self, start: u32) {
        let Note { tag, next, previous } = self.note(start);
        self.free -= tag & !FREE;
        if previous == 0 {
            self.bins.set_first(bin_of(tag & !FREE), next);
        } else {
            let note = self.note(previous);
            self.write(previous, Note { next, ..note });
        }
        if next != 0 {
            let note = self.note(next);
            self.write(next, Note { previous, ..note });
        }
    }

    /// Where so many granules of this alignment, in granules, start in a free run.
    fn place(&self, run: Range<u32>, len: u32, align: u64, end: End) -> Option<u32> {
        let number = |granule| self.start_of(granule).addr() as u64 / GRANULE_LEN as u64;
        let last = run.end.checked_sub(len).filter(|last| *last >= run.start)?;
        let (first, last_number) = (number(run.start), number(last));
        let at = match end {
            End::Low => first.checked_next_multiple_of(align)?,
            End::High => last_number - last_number % align,
        };
        (first..=last_number).contains(&at).then(|| run.start + (at - first) as u32)
    }

    /// A free run that holds as many granules of this alignment, and the first of them. Of the shortest runs that do, if
    /// no more than [`WALK`] of the bin have to be looked at for it.
    fn find(&self, len: u32, align: u64, end_of_run: End) -> Option<(u32, u32)> {
        let mut cut = false;
        let walks = [WALK, usize::MAX];
        for walk in walks {
            for bin in self.bins.filled_from(bin_of(len)) {
                let mut run = self.bins.first(bin);
                let mut left = walk;
                while run != 0 && left > 0 {
                    let note = self.note(run);
                    let end = run + (note.tag & !FREE);
                    if let Some(at) = self.place(run..end, len, align, end_of_run) {
                        return Some((run, at));
                    }
                    run = note.next;
                    left -= 1;
                }
                cut |= run != 0;
            }
            if !cut {
                return None;
            }
        }
        None
    }

    fn start_of(&self, granule: u32) -> *mut u8 {
        self.base.wrapping_add((granule as usize - 1) * GRANULE_LEN)
    }

    fn granule_at(&self, address: usize) -> u32 {
        ((address - self.base.addr()) / GRANULE_LEN) as u32 + 1
    }

    /// Whether nothing is given out, and all that is free is one run.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        self.granules == 0
            || (self.note(1).tag == FREE | self.granules && self.free_granules() == self.granules)
    }

    /// The lengths of all runs of a bin.
    fn runs(&self, bin: usize) -> impl Iterator<Item = u32> {
        let first = Some(self.bins.first(bin)).filter(|run| *run != 0);
        let next = |run: &u32| Some(self.note(*run).next).filter(|run| *run != 0);
        core::iter::successors(first, next).map(|run| self.note(run).tag & !FREE)
    }

    /// The granules of all runs in bins.
    #[cfg(test)]
    pub(super) fn free_granules(&self) -> u32 {
        self.bins.filled_from(0).flat_map(|bin| self.runs(bin)).sum()
    }
}

/// How a range is divided.
struct Parts {
    /// Where the notes begin, in bytes from the start of the range.
    first_note: usize,
    /// Where the granules begin, likewise.
    base: usize,
    granules: u32,
}

impl Parts {
    /// As many granules as fit, with one more note on either side of theirs; `None` if not one fits.
    fn of(start: *mut u8, len_bytes: usize) -> Option<Self> {
        let first_note = start.align_offset(align_of::<Note>());
        let base_for = |granules: usize| {
            let after_notes = first_note + OneRange::notes_bytes(granules as u32);
            after_notes + start.wrapping_add(after_notes).align_offset(GRANULE_LEN)
        };
        let most = (len_bytes / GRANULE_LEN).min(FREE as usize - 2);
        // What the notes and the edges take is a small share: a few steps down from where there would be none.
        let share = most / (GRANULE_LEN / size_of::<Note>()) + 3;
        let fits = |granules: &usize| base_for(*granules) + granules * GRANULE_LEN <= len_bytes;
        let granules = (most.saturating_sub(share)..=most).rev().filter(|n| *n > 0).find(fits)?;
        Some(Self { first_note, base: base_for(granules), granules: granules as u32 })
    }
}

fn granules_in(len_bytes: usize) -> u32 {
    debug_assert!(len_bytes.is_multiple_of(GRANULE_LEN));
    (len_bytes / GRANULE_LEN) as u32
}

// SAFETY: 1, runs that are not in a bin overlap no other, all lie between the notes and the end of the range, and the
// range is the source's by the promise of `new`. 2, the base is a pointer to the whole range.
unsafe impl RangeSource for OneRange {
    fn take(&mut self, layout: Layout, end_of_run: End) -> Option<NonNull<u8>> {
        debug_assert!(layout.size() > 0 && layout.size().is_multiple_of(GRANULE_LEN));
        debug_assert!(layout.align() >= GRANULE_LEN);
        let len = u32::try_from(layout.size() / GRANULE_LEN).ok()?;
        if len > self.granules {
            return None;
        }
        let (run, at) = self.find(len, (layout.align() / GRANULE_LEN) as u64, end_of_run)?;
        let end = run + (self.note(run).tag & !FREE);
        self.remove(run);
        if at > run {
            self.insert(run, at - run);
        }
        if end > at + len {
            self.insert(at + len, end - at - len);
        }
        self.write_used(at, len);
        NonNull::new(self.start_of(at))
    }

    unsafe fn give_back(&mut self, start: NonNull<u8>, len_bytes: usize) {
        let (start, len) = (self.granule_at(start.addr().get()), granules_in(len_bytes));
        debug_assert_eq!(self.note(start).tag, len, "the range is given back as it was taken");
        self.free_run(start, len);
    }

    unsafe fn grow(&mut self, start: NonNull<u8>, len_bytes: usize, new_len_bytes: usize) -> bool {
        let (start, len) = (self.granule_at(start.addr().get()), granules_in(len_bytes));
        debug_assert_eq!(self.note(start).tag, len, "the range grows as it was taken");
        let right = self.note(start + len).tag;
        let Ok(new_len) = u32::try_from(new_len_bytes / GRANULE_LEN) else { return false };
        let more = new_len - len;
        if right & FREE == 0 || right & !FREE < more {
            return false;
        }
        self.remove(start + len);
        if right & !FREE > more {
            self.insert(start + new_len, (right & !FREE) - more);
        }
        self.write_used(start, new_len);
        true
    }

    unsafe fn shrink(&mut self, start: NonNull<u8>, len_bytes: usize, new_len_bytes: usize) {
        let (first, len, new_len) =
            (self.granule_at(start.addr().get()), granules_in(len_bytes), granules_in(new_len_bytes));
        debug_assert_eq!(self.note(first).tag, len, "the range shrinks as it was taken");
        self.write_used(first, new_len);
        self.write_used(first + new_len, len - new_len);
        self.free_run(first + new_len, len - new_len);
    }

    fn starts_at(&self, address: usize) -> bool {
        address.is_multiple_of(GRANULE_LEN) && self.note(self.granule_at(address)).tag != 0
    }

    fn at(&self, address: usize) -> *mut u8 {
        self.base.with_addr(address)
    }

    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn free_bytes(&self) -> u64 {
        u64::from(self.free) * GRANULE_LEN as u64
    }

    fn largest_free_bytes(&self) -> u64 {
        let longest = self.bins.last_filled().map_or(0, |bin| self.runs(bin).max().unwrap_or(0));
        u64::from(longest) * GRANULE_LEN as u64
    }

    fn overhead_bytes(&self) -> u64 {
        self.len_bytes - u64::from(self.granules) * GRANULE_LEN as u64
    }
}
