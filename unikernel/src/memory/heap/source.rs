//! The seam to whoever owns the addresses: the heap takes whole ranges and gives them back.

use core::alloc::Layout;
use core::ptr::NonNull;

/// Ranges start at multiples of this, and have lengths that are multiples of it.
///
/// Large blocks are rounded up to it, and each length of the smallest blocks that is in use takes one: the larger it is,
/// the more is wasted; the smaller, the longer are the notes on ranges. With 16 KiB the notes take 0.07 %, and a large
/// block wastes a ninth at most.
pub const GRANULE_LEN: usize = 16 << 10;

/// The length of the longest ranges that [`RangeSource::starts_at`] is asked about.
pub const MARKED_LEN_MAX: usize = 1 << 20;

/// From which end of free memory a range is best taken. What grows and what stays as it is come from different ends, so
/// that there is room for the one, and the other does not cut free memory into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The lower end: the range may [grow](RangeSource::grow).
    Low,
    /// The upper end: it does not.
    High,
}

/// Whether there is so much free memory that a range of this length may be taken in advance, for more blocks than one.
pub(super) fn is_plenty(source: &impl RangeSource, len_bytes: usize) -> bool {
    source.free_bytes() / 8 >= len_bytes as u64
}

/// Where the heap's memory comes from and goes to.
///
/// Lengths and alignments in bytes are multiples of [`GRANULE_LEN`], and not 0. No method allocates from the heap.
///
/// # Safety
/// 1. What [`take`](Self::take) and [`grow`](Self::grow) give is memory to read and write, aligned as asked for, that
///    overlaps no other range that was given out, and stays so until it is given back.
/// 2. Pointers of [`at`](Self::at) may access every range that is given out.
pub unsafe trait RangeSource {
    /// Gives out a range of this length and alignment, with any content, or `None` if there is none.
    fn take(&mut self, layout: Layout, end: End) -> Option<NonNull<u8>>;

    /// Gives out a range that is all zeros.
    fn take_zeroed(&mut self, layout: Layout, end: End) -> Option<NonNull<u8>> {
        let start = self.take(layout, end)?;
        // SAFETY: the range was just taken, with this length.
        unsafe { start.as_ptr().write_bytes(0, layout.size()) };
        Some(start)
    }

    /// Takes a range back.
    ///
    /// # Safety
    /// The range was given out with this length, all in all, and is not used any more.
    unsafe fn give_back(&mut self, start: NonNull<u8>, len_bytes: usize);

    /// Makes a range longer where it is; says whether that was possible.
    ///
    /// # Safety
    /// The range was given out with this length, which is less than the new one.
    unsafe fn grow(&mut self, start: NonNull<u8>, len_bytes: usize, new_len_bytes: usize) -> bool;

    /// Makes a range longer by moving what it maps to other addresses, with no byte copied; `None` if that can't be done, and
    /// nothing was changed.
    ///
    /// # Safety
    /// As for [`grow`](Self::grow). If it was done, the range is given out at its new place, and at the old one no more.
    unsafe fn relocate(&mut self, start: NonNull<u8>, len_bytes: usize, new: Layout) -> Option<NonNull<u8>> {
        let _ = (start, len_bytes, new);
        None
    }

    /// Takes the end of a range back.
    ///
    /// # Safety
    /// The range was given out with this length, which is greater than the new one; what is beyond that is not used any more.
    unsafe fn shrink(&mut self, start: NonNull<u8>, len_bytes: usize, new_len_bytes: usize);

    /// Gives up what it keeps for later, so that others can have it.
    fn trim(&mut self) {}

    /// Whether a range starts at this address, which lies in one that is given out and no longer than [`MARKED_LEN_MAX`].
    fn starts_at(&self, address: usize) -> bool;

    /// A pointer to this address in a range that is given out. It may access the whole of the range, which a pointer
    /// that an application gives back may not.
    fn at(&self, address: usize) -> *mut u8;

    /// All bytes there are, given out or not; of a source that shares them with others, those that others have not.
    fn len_bytes(&self) -> u64;

    /// Those of them that can be given out, in however many pieces.
    fn free_bytes(&self) -> u64;

    /// The length of the longest range that could be given out, if nothing was kept for later.
    fn largest_free_bytes(&self) -> u64;

    /// Those of them that are never given out: notes, and what is lost at the edges.
    fn overhead_bytes(&self) -> u64;
}
