//! The application heap: a `linked_list_allocator` over each range of free RAM, behind the global allocator.

use super::ram::RANGES_MAX;
use super::range_set::RangeSet;
use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ptr::{self, NonNull};
use linked_list_allocator::Heap;
use spin::Mutex;

#[cfg_attr(target_os = "none", global_allocator)]
pub(crate) static HEAP: Ranges = Ranges::new();

/// The heap's ranges, ascending. Allocations come from the lowest range that can hold them.
pub(crate) struct Ranges(Mutex<State>);

struct State {
    heaps: [Heap; RANGES_MAX],
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

impl Ranges {
    const fn new() -> Self {
        Self(Mutex::new(State { heaps: [const { Heap::empty() }; RANGES_MAX], failed: None }))
    }

    /// Gives the heap its memory.
    ///
    /// # Safety
    /// All of `free` is mapped one to one, writable, used by nobody else, and stays so; called once.
    pub(crate) unsafe fn init(&self, free: &RangeSet<RANGES_MAX>) {
        let mut state = self.0.lock();
        for (heap, range) in state.heaps.iter_mut().zip(free.ranges()) {
            // SAFETY: the caller's promise, for one range of it.
            unsafe { heap.init(range.start as *mut u8, (range.end - range.start) as usize) };
        }
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
        self.heaps.iter().fold(Statistics::default(), |sum, heap| Statistics {
            used_bytes: sum.used_bytes + heap.used() as u64,
            free_bytes: sum.free_bytes + heap.free() as u64,
        })
    }
}

// SAFETY: memory comes from the heaps' own ranges, each block from one of them and back to the same.
unsafe impl GlobalAlloc for Ranges {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut state = self.0.lock();
        for heap in state.heaps.iter_mut().filter(|heap| heap.free() >= layout.size()) {
            if let Ok(block) = heap.allocate_first_fit(layout) {
                return block.as_ptr();
            }
        }
        state.failed = Some(FailedAllocation { layout, statistics: state.statistics() });
        ptr::null_mut()
    }

    // A block that no heap holds can't have come from here; it is left alone.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        let mut state = self.0.lock();
        let owner = |heap: &&mut Heap| (heap.bottom()..heap.top()).contains(&block.as_ptr());
        if let Some(heap) = state.heaps.iter_mut().filter(|heap| heap.size() > 0).find(owner) {
            // SAFETY: the caller got the block from `alloc` with this layout, and only this heap holds its address.
            unsafe { heap.deallocate(block, layout) };
        }
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
    use alloc::alloc::{alloc, dealloc};
    use alloc::vec::Vec;

    const RANGE_LEN: usize = 64 << 10;

    /// A heap over two ranges of host memory, one adjacent to nothing of the other.
    fn with_two_ranges(test: impl FnOnce(&Ranges)) {
        let layout = Layout::from_size_align(RANGE_LEN, 4096).unwrap();
        // SAFETY: the layout has a size; each block is freed below with the same layout, when the heap is gone.
        let blocks = [unsafe { alloc(layout) }, unsafe { alloc(layout) }];
        let mut free = RangeSet::new();
        for block in blocks {
            free.insert(&(block as u64..block as u64 + RANGE_LEN as u64)).unwrap();
        }
        let heap = Ranges::new();
        // SAFETY: the blocks are this test's alone.
        unsafe { heap.init(&free) };
        test(&heap);
        for block in blocks {
            // SAFETY: allocated above with this layout.
            unsafe { dealloc(block, layout) };
        }
    }

    #[test]
    fn both_ranges_are_used_and_given_back() {
        with_two_ranges(|heap| {
            let layout = Layout::from_size_align(1000, 64).unwrap();
            let before = heap.statistics();
            // SAFETY: the layout has a size, and what is freed was allocated with it.
            let blocks: Vec<_> =
                core::iter::from_fn(|| NonNull::new(unsafe { heap.alloc(layout) })).collect();
            assert!(blocks.len() * 1000 > RANGE_LEN * 15 / 10, "{} blocks came from one range", blocks.len());
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
        with_two_ranges(|heap| {
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
