//! Heaps over memory of the host.

use super::{CurrentCpu, GRANULE_LEN, Heap, OneRange, RangeSource};
use alloc::alloc::{alloc, dealloc};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

pub(super) const KIB: usize = 1 << 10;
pub(super) const MIB: usize = 1 << 20;

/// For heaps that only the thread of their test uses.
pub(super) struct OneThread;

// SAFETY: 1, each heap has a CPU. 2, each is used by one thread alone.
unsafe impl CurrentCpu for OneThread {
    fn index() -> usize {
        0
    }
}

pub(super) type TestHeap<S = OneRange> = Heap<S, OneThread>;

/// Memory of the host, with what was there before.
pub(super) struct Memory {
    pub(super) start: *mut u8,
    layout: Layout,
}

impl Memory {
    pub(super) fn new(len_bytes: usize, align: usize) -> Self {
        let layout = Layout::from_size_align(len_bytes, align).unwrap();
        // SAFETY: the layout has a size.
        let start = unsafe { alloc(layout) };
        assert!(!start.is_null());
        Self { start, layout }
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.layout.size()
    }

    /// A source over the memory without so many bytes at its start.
    pub(super) fn source(&self, without: usize) -> OneRange {
        // SAFETY: the memory is the test's alone, and outlives what is made of it there.
        unsafe { OneRange::new(self.start.add(without), self.layout.size() - without) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}

/// Runs a test with a heap of this length. At the end all has to be free, and nothing kept once it is trimmed.
pub(super) fn with_heap(len_bytes: usize, test: impl FnOnce(&TestHeap)) {
    let memory = Memory::new(len_bytes, 4096);
    let heap = TestHeap::new(memory.source(0));
    let before = heap.statistics();
    assert_eq!(before.used_bytes + before.free_bytes, len_bytes as u64);
    test(&heap);
    assert_eq!(heap.statistics(), before, "something is used");
    heap.trim();
    assert_eq!(heap.statistics(), before, "after trimming");
    assert!(heap.with_shared(|shared| shared.source.is_whole()), "the range is in pieces");
}

/// Bytes at either end of a block that are written and checked.
const EDGE: usize = if cfg!(miri) { 16 } else { 4096 };

/// A block that knows what was written to it.
pub(super) struct Block<'a, S: RangeSource> {
    heap: &'a TestHeap<S>,
    pub(super) start: NonNull<u8>,
    pub(super) layout: Layout,
    fill: u8,
}

impl<'a, S: RangeSource> Block<'a, S> {
    pub(super) fn new(heap: &'a TestHeap<S>, layout: Layout, fill: u8) -> Option<Self> {
        // SAFETY: the layouts of tests have sizes.
        let start = NonNull::new(unsafe { heap.alloc(layout) })?;
        assert!(start.addr().get().is_multiple_of(layout.align()), "{start:p} for {layout:?}");
        let block = Self { heap, start, layout, fill };
        block.fill(0, layout.size());
        Some(block)
    }

    /// Says whether it could be done. The block is as it was if not.
    pub(super) fn resize(&mut self, new_size: usize) -> bool {
        // SAFETY: the block is allocated with this layout; sizes of tests are not 0 and far from overflow.
        let Some(start) =
            NonNull::new(unsafe { self.heap.realloc(self.start.as_ptr(), self.layout, new_size) })
        else {
            self.check(self.layout.size());
            return false;
        };
        self.start = start;
        self.check_start(self.layout.size().min(new_size));
        self.layout = Layout::from_size_align(new_size, self.layout.align()).unwrap();
        assert!(start.addr().get().is_multiple_of(self.layout.align()));
        self.fill(0, new_size);
        true
    }

    pub(super) fn addresses(&self) -> core::ops::Range<usize> {
        let start = self.start.addr().get();
        start..start + self.layout.size()
    }

    fn fill(&self, from: usize, to: usize) {
        let edge = EDGE.min(to - from);
        // SAFETY: the block is allocated, and as long as that.
        unsafe {
            self.start.as_ptr().add(from).write_bytes(self.fill, edge);
            self.start.as_ptr().add(to - edge).write_bytes(self.fill, edge);
        }
    }

    fn check_start(&self, len: usize) {
        // SAFETY: the first bytes of the block were written, so many or all of it.
        let bytes = unsafe { core::slice::from_raw_parts(self.start.as_ptr(), EDGE.min(len)) };
        assert!(bytes.iter().all(|byte| *byte == self.fill), "{:p} {:?}", self.start, self.layout);
    }

    fn check(&self, len: usize) {
        self.check_start(len);
        let edge = EDGE.min(len);
        // SAFETY: as above, for the last bytes.
        let bytes = unsafe { core::slice::from_raw_parts(self.start.as_ptr().add(len - edge), edge) };
        assert!(bytes.iter().all(|byte| *byte == self.fill), "{:p} {:?}", self.start, self.layout);
    }
}

impl<S: RangeSource> Drop for Block<'_, S> {
    fn drop(&mut self) {
        self.check(self.layout.size());
        // SAFETY: allocated with this layout, and not used again.
        unsafe { self.heap.dealloc(self.start.as_ptr(), self.layout) };
    }
}

pub(super) fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

pub(super) fn granules(count: usize) -> usize {
    count * GRANULE_LEN
}
