//! What the page tables need of the machine: frames, the memory of tables, and the address space they make up.
//!
//! A machine is a handle that is copied into every owned thing: of no size in the guest, a reference on the host, where the
//! same code runs over simulated RAM under tests, Miri, a fuzzer and a model checker.

use super::level::ENTRIES;
use crate::memory::address::PhysAddr;
use crate::memory::address_space::AddressSpace;
use crate::memory::atomic::{AtomicU64, Ordering};
use crate::memory::frame::FrameSource;

/// One entry of a table in memory. The hardware reads it at any time, hence atomic.
pub trait EntryCell {
    /// The value.
    fn load(&self, ordering: Ordering) -> u64;
    /// Changes the value.
    fn store(&self, value: u64, ordering: Ordering);
    /// Changes the value from `current` to `new`, with Release if it was and Acquire if it was not.
    ///
    /// # Errors
    /// The value, if it was another.
    fn compare_exchange(&self, current: u64, new: u64) -> Result<u64, u64>;
}

/// How the host wants page tables to be. It follows from the host, never from the ownership kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// Whether entries of every level have the user bit.
    pub user: bool,
    /// Whether there may be leaves of 1 GiB.
    pub one_gib_leaves: bool,
    /// How many bits physical addresses have (MAXPHYADDR, CPUID leaf 0x80000008): the bits above, up to 51, are reserved in
    /// entries.
    pub physical_address_bits: u32,
    /// Whether the root must lie in a frame with an odd number.
    pub root_in_odd_frame: bool,
}

/// The memory of page tables.
///
/// # Safety
/// 1. `table` gives the 4096 bytes of that frame, the same at each call and for each copy of the handle.
/// 2. Cells are plain memory: what is stored is what is loaded, by the orderings of Rust's atomics.
pub unsafe trait TableMemory: FrameSource {
    /// An entry in memory.
    type Cell: EntryCell;

    /// The entries of the table in `frame`.
    ///
    /// # Safety
    /// The frame is RAM, and a table, or owned by the caller to become one.
    unsafe fn table(&self, frame: PhysAddr) -> &[Self::Cell; ENTRIES];

    /// How the host wants tables to be: the same at each call.
    fn paging(&self) -> Paging;
}

/// A machine with an address space.
///
/// # Safety
/// `space` gives the same address space at each call and for each copy of the handle, made by
/// [`AddressSpace::new`] on the same [`TableMemory`].
pub unsafe trait Machine: TableMemory {
    /// The address space.
    fn space(&self) -> &AddressSpace;

    /// The root that the processor walks; `None` where none walks this machine's tables.
    fn loaded_root(&self) -> Option<PhysAddr> {
        None
    }
}

impl EntryCell for AtomicU64 {
    #[inline]
    fn load(&self, ordering: Ordering) -> u64 {
        Self::load(self, ordering)
    }

    #[inline]
    fn store(&self, value: u64, ordering: Ordering) {
        Self::store(self, value, ordering);
    }

    #[inline]
    fn compare_exchange(&self, current: u64, new: u64) -> Result<u64, u64> {
        Self::compare_exchange(self, current, new, Ordering::AcqRel, Ordering::Acquire)
    }
}
