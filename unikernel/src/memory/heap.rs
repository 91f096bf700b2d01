//! The application heap: a `linked_list_allocator` over the tracked range that the kernel maps for it, behind the global
//! allocator.

use super::page_table::VirtRange;
use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ptr::{self, NonNull};
use linked_list_allocator::Heap;
use spin::Mutex;

#[cfg_attr(target_os = "none", global_allocator)]
pub(crate) static HEAP: LockedHeap = LockedHeap::new();

/// The heap of the machine.
pub(crate) struct LockedHeap(Mutex<State>);

struct State {
    heap: Heap,
    failed: Option<FailedAllocation>,
}

/// The latest allocation that could not be satisfied, with how the heap stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedAllocation {
    /// What was asked for.
    pub layout: Layout,
    /// The heap at that moment.
    pub statistics: Statistics,
}

/// How much of the heap is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes handed out, with the allocator's rounding.
    pub used_bytes: u64,
    /// Bytes not handed out, in however many pieces.
    pub free_bytes: u64,
}

impl fmt::Display for FailedAllocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Statistics { used_bytes, free_bytes } = self.statistics;
        let (size, align) = (self.layout.size(), self.layout.align());
        write!(
            formatter,
            "no room for {size} bytes aligned to {align}: the heap has {used_bytes} bytes in use and "
        )?;
        write!(formatter, "{free_bytes} free in pieces")
    }
}

impl LockedHeap {
    const fn new() -> Self {
        Self(Mutex::new(State { heap: Heap::empty(), failed: None }))
    }

    /// Gives the heap its memory.
    ///
    /// # Safety
    /// The range is mapped, writable, used by nobody else, and stays so; called once.
    pub(crate) unsafe fn init(&self, range: VirtRange) {
        let start = core::ptr::with_exposed_provenance_mut(range.start.as_u64() as usize);
        // SAFETY: the caller's promise.
        unsafe { self.0.lock().heap.init(start, range.len_bytes as usize) };
    }

    /// How much is used.
    pub(crate) fn statistics(&self) -> Statistics {
        self.0.lock().statistics()
    }

    /// The latest failure, unless somebody holds the heap (a panic inside of it must not wait).
    pub(crate) fn latest_failure(&self) -> Option<FailedAllocation> {
        self.0.try_lock()?.failed
    }
}

impl State {
    fn statistics(&self) -> Statistics {
        Statistics { used_bytes: self.heap.used() as u64, free_bytes: self.heap.free() as u64 }
    }
}

// SAFETY: memory comes from the heap's own range, and goes back to it.
unsafe impl GlobalAlloc for LockedHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut state = self.0.lock();
        if let Ok(block) = state.heap.allocate_first_fit(layout) {
            return block.as_ptr();
        }
        state.failed = Some(FailedAllocation { layout, statistics: state.statistics() });
        ptr::null_mut()
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        // SAFETY: the caller got the block from `alloc` with this layout.
        unsafe { self.0.lock().heap.deallocate(block, layout) };
    }
}

/// How much of the heap is used.
#[must_use]
pub fn statistics() -> Statistics {
    HEAP.statistics()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::address::VirtAddr;
    use alloc::alloc::{alloc, dealloc};
    use alloc::vec::Vec;

    const RANGE_LEN: usize = 64 << 10;

    /// A heap over host memory.
    fn with_heap(test: impl FnOnce(&LockedHeap)) {
        let layout = Layout::from_size_align(RANGE_LEN, 4096).unwrap();
        // SAFETY: the layout has a size; the block is freed below with the same layout, when the heap is gone.
        let block = unsafe { alloc(layout) };
        let heap = LockedHeap::new();
        let start = VirtAddr::new(block.expose_provenance() as u64);
        // SAFETY: the block is this test's alone.
        unsafe { heap.init(VirtRange::new(start, RANGE_LEN as u64)) };
        test(&heap);
        // SAFETY: allocated above with this layout.
        unsafe { dealloc(block, layout) };
    }

    #[test]
    fn all_of_it_is_used_and_given_back() {
        with_heap(|heap| {
            let layout = Layout::from_size_align(1000, 64).unwrap();
            let before = heap.statistics();
            // SAFETY: the layout has a size, and what is freed was allocated with it.
            let blocks: Vec<_> =
                core::iter::from_fn(|| NonNull::new(unsafe { heap.alloc(layout) })).collect();
            assert!(blocks.len() * 1000 > RANGE_LEN * 9 / 10, "{} blocks", blocks.len());
            assert!(blocks.iter().all(|block| (block.as_ptr() as usize).is_multiple_of(64)));
            for block in blocks {
                // SAFETY: as above.
                unsafe { heap.dealloc(block.as_ptr(), layout) };
            }
            assert_eq!(heap.statistics(), before);
        });
    }

    #[test]
    fn a_failure_is_kept_with_the_sizes() {
        with_heap(|heap| {
            assert_eq!(heap.latest_failure(), None);
            let layout = Layout::from_size_align(RANGE_LEN + 1, 8).unwrap();
            // SAFETY: the layout has a size.
            assert!(unsafe { heap.alloc(layout) }.is_null());
            let failure = heap.latest_failure().unwrap();
            assert_eq!(failure.layout, layout);
            assert_eq!(failure.statistics, heap.statistics());
        });
    }
}
