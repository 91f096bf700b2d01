//! A large buffer of pages that come on demand, and whose parts can go back.

use super::page_in;
use crate::memory::address::VirtAddr;
use crate::memory::heap::demand::NotPaged;
use crate::memory::heap::{GRANULE_LEN, RangeSource};
use crate::memory::live::heap::{HEAP, pager};
use crate::memory::page_table::{Error, VirtRange};
use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;

/// An owned range of the heap, all zeros at first, whose pages come at their first access.
///
/// All of it has credit, so that touching it can't fail; but for parts that were [given back](Self::give_back), until they
/// are [reserved again](Self::reserve_again).
///
/// ```no_run
/// use unikernel::heap::Pages;
///
/// let mut log = Pages::reserve(1 << 30)?;
/// let Some(first) = log.part_mut(0..4096) else { panic!("nothing was given back") };
/// first.fill(0xff);
/// // What was written to disk is not needed any more: frames and credit are free for others.
/// let gone = log.give_back(0..512 << 20);
/// assert!(log.part(gone.clone()).is_none());
/// // The buffer comes round: from here on it can be touched again, and is all zeros.
/// log.reserve_again(gone)?;
/// # Ok::<(), unikernel::heap::PagesError>(())
/// ```
#[derive(Debug)]
pub struct Pages {
    start: NonNull<u8>,
    len_bytes: usize,
}

// SAFETY: the range is the value's alone, wherever it goes.
unsafe impl Send for Pages {}
// SAFETY: through a shared reference it is only read.
unsafe impl Sync for Pages {}

/// Why there are no pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagesError {
    /// There is no memory that could be promised for so many bytes.
    OutOfMemory {
        /// What was asked for.
        len_bytes: usize,
        /// What could be allocated in one block.
        largest_free_bytes: u64,
    },
    /// A part lies outside of the pages.
    Outside {
        /// The part.
        part: (usize, usize),
        /// The length of the pages.
        len_bytes: usize,
    },
    /// A page was given back.
    GivenBack {
        /// The offset of the first such.
        at: usize,
    },
    /// The page tables refuse it.
    Refused(Error),
}

impl fmt::Display for PagesError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory { len_bytes, largest_free_bytes } => write!(
                formatter,
                "no room for {len_bytes} bytes of pages: the largest that could be had are {largest_free_bytes} bytes; \
                 free something, or give the guest more memory"
            ),
            Self::Outside { part: (start, end), len_bytes } => {
                write!(formatter, "bytes {start} to {end} lie outside of {len_bytes} bytes of pages")
            }
            Self::GivenBack { at } => {
                write!(
                    formatter,
                    "the page at offset {at} was given back: reserve it again before it is touched"
                )
            }
            Self::Refused(cause) => cause.fmt(formatter),
        }
    }
}

impl core::error::Error for PagesError {}

/// There is no room for so many bytes.
pub(super) fn out_of_memory(len_bytes: usize) -> PagesError {
    PagesError::OutOfMemory {
        len_bytes,
        largest_free_bytes: HEAP.with_source(|source| source.largest_free_bytes()),
    }
}

impl Pages {
    /// Takes a range of this length, rounded up to 16 KiB, with credit for all of it. From 2 MiB on it begins at a multiple of
    /// that, and pages of 2 MiB are used as long as there are any.
    ///
    /// # Errors
    /// [`PagesError::OutOfMemory`].
    pub fn reserve(len_bytes: usize) -> Result<Self, PagesError> {
        let rounded = len_bytes.max(1).checked_next_multiple_of(GRANULE_LEN);
        let start = rounded.and_then(|len_bytes| HEAP.with_source(|source| source.reserve_pages(len_bytes)));
        match (start, rounded) {
            (Some(start), Some(len_bytes)) => Ok(Self { start, len_bytes }),
            _ => Err(out_of_memory(len_bytes)),
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Its first byte. What was given back must not be accessed.
    #[must_use]
    pub const fn as_mut_ptr(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// A part of it; `None` if that lies outside, or something of it was given back.
    #[must_use]
    pub fn part(&self, part: Range<usize>) -> Option<&[u8]> {
        self.check(&part).ok()?;
        // SAFETY: all of the part is handed out to this range: it reads as what was written, or zeros.
        Some(unsafe { core::slice::from_raw_parts(self.start.as_ptr().add(part.start), part.len()) })
    }

    /// A part of it, to be written; `None` if that lies outside, or something of it was given back.
    #[must_use]
    pub fn part_mut(&mut self, part: Range<usize>) -> Option<&mut [u8]> {
        self.check(&part).ok()?;
        // SAFETY: as above, and the reference is the only one.
        Some(unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr().add(part.start), part.len()) })
    }

    /// Maps the pages of a part now.
    ///
    /// ```no_run
    /// # use unikernel::heap::Pages;
    /// let mut buffer = Pages::reserve(1 << 20)?;
    /// buffer.prefault(0..1 << 16)?;
    /// # Ok::<(), unikernel::heap::PagesError>(())
    /// ```
    ///
    /// # Errors
    /// [`PagesError::Outside`], [`PagesError::GivenBack`].
    pub fn prefault(&mut self, part: Range<usize>) -> Result<(), PagesError> {
        self.check(&part)?;
        match page_in(self.address(part.start), part.len() as u64).1 {
            Some(NotPaged::CreditBroken) => unreachable!("all that is handed out has credit"),
            _ => Ok(()),
        }
    }

    /// Gives back all whole pages of a part, with their frames and their credit; says which bytes those were: whole granules
    /// of 16 KiB, and whole pages of 2 MiB where such are mapped. They must not be accessed until they are
    /// [reserved again](Self::reserve_again): that would be a fault that ends the machine.
    pub fn give_back(&mut self, part: Range<usize>) -> Range<usize> {
        let part = part.start.min(self.len_bytes)..part.end.min(self.len_bytes);
        if part.is_empty() {
            return part.start..part.start;
        }
        let start = self.start.addr().get();
        // SAFETY: the range is this value's, and borrowed for writing, so nobody uses it.
        let gone =
            HEAP.with_source(|source| unsafe { source.give_back_part(start + part.start..start + part.end) });
        gone.start - start..gone.end - start
    }

    /// Has credit again for what was given back of a part: from here on it can be touched, and is all zeros. What was not
    /// given back stays as it is.
    ///
    /// # Errors
    /// [`PagesError::OutOfMemory`], [`PagesError::Outside`].
    pub fn reserve_again(&mut self, part: Range<usize>) -> Result<(), PagesError> {
        self.check_bounds(&part)?;
        let start = self.start.addr().get();
        // SAFETY: the range is this value's.
        let done =
            HEAP.with_source(|source| unsafe { source.hand_out_again(start + part.start..start + part.end) });
        if done { Ok(()) } else { Err(out_of_memory(part.len())) }
    }

    fn address(&self, offset: usize) -> u64 {
        (self.start.addr().get() + offset) as u64
    }

    fn check_bounds(&self, part: &Range<usize>) -> Result<(), PagesError> {
        if part.start <= part.end && part.end <= self.len_bytes {
            return Ok(());
        }
        Err(PagesError::Outside { part: (part.start, part.end), len_bytes: self.len_bytes })
    }

    fn check(&self, part: &Range<usize>) -> Result<(), PagesError> {
        self.check_bounds(part)?;
        let is_there = |at: usize, len: usize| {
            let range = VirtRange::new(VirtAddr::new(self.address(at)), len as u64);
            len == 0 || pager().is_some_and(|pager| pager.is_handed_out(range))
        };
        if is_there(part.start, part.len()) {
            return Ok(());
        }
        let first = part.start - part.start % GRANULE_LEN;
        let gone = (first..part.end).step_by(GRANULE_LEN).find(|at| !is_there(*at, 1));
        Err(PagesError::GivenBack { at: gone.unwrap_or(part.start).max(part.start) })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the range was reserved, and is not used any more.
        HEAP.with_source(|source| unsafe { source.give_back_pages(self.start) });
    }
}
