//! The seam to memory that comes on demand: the guest's heap, or the host's `mmap`.

use crate::churn::map::{MapError, Page};

/// Memory whose pages come when they are touched, all zeros.
///
/// # Safety
/// From `reserve` of a buffer to its `give_back`, and again from `reserve_again`, all of its bytes, from `start` on, can be
/// read and written, and are nobody else's.
pub unsafe trait DemandMemory {
    /// A range of addresses with what came there, all of which goes when it is dropped.
    type Buffer;

    /// Bytes that are free and promised to nobody, when all is given up that is only kept for later. `None` where this program
    /// is not the only one that takes memory.
    fn settled_free_bytes(&self) -> Option<u64>;

    /// Takes a buffer whose pages have this length, and which is as long as some of them.
    ///
    /// # Errors
    /// Nothing was taken.
    fn reserve(&self, page: Page, len_bytes: usize) -> Result<Self::Buffer, MapError>;

    /// The first byte of a buffer.
    fn start(&self, buffer: &mut Self::Buffer) -> *mut u8;

    /// Has all pages of a buffer come.
    ///
    /// # Errors
    /// Some may not have come, and come when they are touched.
    fn prefault(&self, buffer: &mut Self::Buffer) -> Result<(), MapError>;

    /// Gives all pages of a buffer back, but not its addresses.
    ///
    /// # Errors
    /// Some were not.
    fn give_back(&self, buffer: &mut Self::Buffer) -> Result<(), MapError>;

    /// Has the pages of a buffer come again that were given back.
    ///
    /// # Errors
    /// They do not.
    fn reserve_again(&self, buffer: &mut Self::Buffer) -> Result<(), MapError>;

    /// Page faults so far for which memory came.
    fn faults(&self) -> u64;

    /// Pages of 2 MiB that map such memory at this moment.
    fn large_pages(&self) -> u64;
}
