//! Pages of a chosen size, mapped at once.

use super::pages::{PagesError, out_of_memory};
use crate::memory::address::VirtAddr;
use crate::memory::frame::FrameBatch;
use crate::memory::heap::demand::ClearFrames;
use crate::memory::live::heap::HEAP;
use crate::memory::live::{self, Live, LocalFlush};
use crate::memory::page_size::{PageSize, Size1GiB};
use crate::memory::page_table::attributes::DataAccess;
use crate::memory::page_table::level::LeafSize;
use crate::memory::page_table::{Error, TableMemory, Tracked, VaRange, VirtRange, flush};
use crate::memory::subtree::Subtree;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// An owned range that is mapped by pages of size `S` alone, all zeros at first. It never faults.
///
/// ```no_run
/// use unikernel::heap::LeafPages;
/// use unikernel::memory::page_size::{Size1GiB, Size2MiB};
///
/// // A gigabyte by one entry of the TLB, where the host has such pages; else by those of 2 MiB.
/// let table: Box<dyn core::ops::DerefMut<Target = [u8]>> = match LeafPages::<Size1GiB>::map(1) {
///     Ok(pages) => Box::new(pages),
///     Err(_) => Box::new(LeafPages::<Size2MiB>::map(512)?),
/// };
/// assert_eq!(table.len(), 1 << 30);
/// # Ok::<(), unikernel::heap::PagesError>(())
/// ```
pub struct LeafPages<S: LeafSize> {
    /// Taken when this is dropped.
    range: Option<VaRange<Tracked, Live>>,
    start: NonNull<u8>,
    len_bytes: usize,
    size: PhantomData<S>,
}

// SAFETY: the range is the value's alone, wherever it goes.
unsafe impl<S: LeafSize> Send for LeafPages<S> {}
// SAFETY: through a shared reference it is only read.
unsafe impl<S: LeafSize> Sync for LeafPages<S> {}

impl<S: LeafSize> LeafPages<S> {
    /// Maps `count` pages, at least one.
    ///
    /// # Errors
    /// [`PagesError::OutOfMemory`] if there are not as many free frames of this size; [`PagesError::Refused`] with
    /// [`Error::UnsupportedSize`] where the host has no pages of 1 GiB, with [`Error::Empty`] for no page, and if there are no
    /// addresses.
    pub fn map(count: u64) -> Result<Self, PagesError> {
        let len_bytes = count.saturating_mul(S::LEN_BYTES);
        let no_room = || out_of_memory(len_bytes as usize);
        let machine = live::machine().ok_or_else(no_room)?;
        if S::LEN_BYTES == Size1GiB::LEN_BYTES && !machine.paging().one_gib_leaves {
            let range = VirtRange::new(VirtAddr::new(0), len_bytes);
            return Err(PagesError::Refused(Error::UnsupportedSize { range, leaf_bytes: S::LEN_BYTES }));
        }
        let range =
            Subtree::<Tracked>::reserve(machine, len_bytes, S::LEN_BYTES).map_err(PagesError::Refused)?;
        // Tables that others have left would be in the way of larger leaves.
        let mut range = flush(range.trim(), &LocalFlush).release();
        let start = range.range().start;
        let mapped = map_cleared::<S>(machine, &mut range, count);
        // Addresses of the lower half are pointers as they are, and the first are the kernel's.
        let pointer = NonNull::new(core::ptr::with_exposed_provenance_mut(start.as_u64() as usize));
        match (mapped, pointer) {
            (Ok(()), Some(start)) => {
                Ok(Self { range: Some(range), start, len_bytes: len_bytes as usize, size: PhantomData })
            }
            (result, _) => {
                give_back(range);
                match result {
                    Err(Some(error)) => Err(PagesError::Refused(error)),
                    _ => Err(no_room()),
                }
            }
        }
    }
}

/// Maps frames that are all zeros. The error is none if it is for lack of such frames.
fn map_cleared<S: LeafSize>(
    machine: Live,
    range: &mut VaRange<Tracked, Live>,
    count: u64,
) -> Result<(), Option<Error>> {
    let mut frames = FrameBatch::<S, _>::allocate(machine, count)
        .or_else(|_| {
            // What the heap keeps for later is better used here.
            HEAP.trim();
            FrameBatch::allocate(machine, count)
        })
        .map_err(|_| None)?;
    let mut cleared = FrameBatch::<S, _>::new(machine);
    while let Some(run) = frames.pop_run(u64::MAX) {
        // SAFETY: the run is owned.
        unsafe { machine.clear(run.start(), run.len_bytes()) };
        // It is of the same machine.
        let _ = cleared.push(run);
    }
    let start = range.range().start;
    range.map(start, cleared, DataAccess::ReadWrite).map_err(|rejected| match rejected.error {
        Error::OutOfFrames { .. } => None,
        error => Some(error),
    })
}

/// Unmaps a range and gives it back.
fn give_back(range: VaRange<Tracked, Live>) {
    // A range that holds leaves of one size is not cut anywhere.
    let Ok(detached) = range.detach() else { return };
    let range = flush(detached, &LocalFlush).release();
    // What can't be put back is lost: addresses, of which there are plenty.
    let _ = Subtree::give_back(flush(range.trim(), &LocalFlush).release());
}

impl<S: LeafSize> Drop for LeafPages<S> {
    fn drop(&mut self) {
        if let Some(range) = self.range.take() {
            give_back(range);
        }
    }
}

impl<S: LeafSize> Deref for LeafPages<S> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: all of the range is mapped, as memory of this value alone that holds zeros or what was written.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len_bytes) }
    }
}

impl<S: LeafSize> DerefMut for LeafPages<S> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the reference is the only one.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len_bytes) }
    }
}

impl<S: LeafSize> fmt::Debug for LeafPages<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LeafPages({} bytes by {} at {:p})", self.len_bytes, S::NAME, self.start)
    }
}
