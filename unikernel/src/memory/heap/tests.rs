use super::fixture::{Block, KIB, MIB, Memory, OneThread, TestHeap, layout, with_heap};
use super::{CurrentCpu, End, Heap, OneRange, RangeSource};
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn each_kind_comes_and_goes() {
    with_heap(16 * MIB, |heap| {
        for size in [1, 16, 100, 4096, 32 * KIB, 33 * KIB, 100 * KIB, 128 * KIB, 129 * KIB, MIB] {
            let before = heap.statistics();
            let block = Block::new(heap, layout(size, 8), 7).unwrap();
            let used = (heap.statistics().used_bytes - before.used_bytes) as usize;
            assert!(used >= size && (used - size) * 4 <= used.max(64), "{used} for {size}");
            drop(block);
            assert_eq!(heap.statistics(), before, "{size}");
        }
    });
}

#[test]
fn nearly_all_of_it_is_used_and_given_back() {
    // The longer one has room for more arenas than are asked before another is opened.
    for (len, size) in [
        (MIB, 16),
        (4 * MIB, 1000),
        (4 * MIB, 20 * KIB),
        (4 * MIB, 32 * KIB),
        (32 * MIB, 50 * KIB),
        (32 * MIB, 100 * KIB),
        (4 * MIB, 300 * KIB),
    ] {
        if cfg!(miri) && (size < 20 * KIB || len > 4 * MIB) {
            continue;
        }
        with_heap(len, |heap| {
            let blocks: Vec<_> = core::iter::from_fn(|| Block::new(heap, layout(size, 8), 3)).collect();
            let free = heap.statistics().free_bytes as usize;
            assert!(blocks.len() * size > len * 3 / 4, "{} blocks of {size}, {free} free", blocks.len());
        });
    }
}

#[test]
fn what_is_freed_in_a_full_arena_is_found_again() {
    with_heap(16 * MIB, |heap| {
        let block = || Block::new(heap, layout(100 * KIB, 8), 3).unwrap();
        // Two arenas are full, and the first is known to be.
        let mut blocks: Vec<_> = (0..20).map(|_| block()).collect();
        let start = blocks.remove(0).start;
        assert_eq!(block().start, start);
        drop(blocks);
    });
}

#[test]
#[cfg_attr(miri, ignore = "much memory is looked at")]
fn starting_touches_few_pages() {
    let memory = Memory::new(64 * MIB, 4096);
    let len = memory.len_bytes();
    // SAFETY: the memory is the test's alone, and so long; all of it was written.
    unsafe {
        memory.start.write_bytes(0xa5, len);
        let heap = TestHeap::new(OneRange::empty());
        heap.init(OneRange::new(memory.start, len));
        let bytes = core::slice::from_raw_parts(memory.start, len);
        let touched = bytes.chunks(4096).filter(|page| page.iter().any(|byte| *byte != 0xa5)).count();
        assert!(touched <= 2, "{touched} pages");
    }
}

#[test]
fn what_small_blocks_keep_is_there_for_a_large_one() {
    with_heap(16 * MIB, |heap| {
        let sizes = (1..30).map(|n| n * 1000);
        let blocks: Vec<_> = sizes.map(|size| Block::new(heap, layout(size, 8), 3).unwrap()).collect();
        let middle = Block::new(heap, layout(100 * KIB, 8), 3).unwrap();
        drop((blocks, middle));
        assert!(!heap.with_shared(|shared| shared.source.is_whole()), "nothing is kept at hand");
        let all = heap.with_shared(|shared| shared.source.len_bytes() - shared.source.overhead_bytes());
        drop(Block::new(heap, layout(all as usize, 8), 1).unwrap());
    });
}

#[test]
fn large_blocks_grow_and_shrink_where_they_are() {
    with_heap(4 * MIB, |heap| {
        let mut block = Block::new(heap, layout(200 * KIB, 8), 5).unwrap();
        let start = block.start;
        for size in [201 * KIB, 2 * MIB, MIB, 3 * MIB, 100 * KIB, 200 * KIB] {
            assert!(block.resize(size));
            assert_eq!(block.start, start, "{size}");
        }
        let neighbour = Block::new(heap, layout(200 * KIB, 8), 6).unwrap();
        assert!(block.resize(MIB));
        assert_ne!(block.start, start);
        assert!(block.resize(100));
        drop((neighbour, block));
    });
}

#[test]
fn middle_blocks_shrink_where_they_are() {
    with_heap(16 * MIB, |heap| {
        let mut block = Block::new(heap, layout(128 * KIB, 16), 5).unwrap();
        let (start, used) = (block.start, heap.statistics().used_bytes);
        assert!(block.resize(40 * KIB));
        assert_eq!((block.start, heap.statistics().used_bytes), (start, used - 88 * KIB as u64));
        assert!(block.resize(40 * KIB - 8) && block.resize(40 * KIB));
        assert_eq!(block.start, start, "it was rounded up to that");
        assert!(block.resize(16 * KIB));
    });
}

#[test]
fn a_failure_is_kept_with_the_sizes() {
    with_heap(MIB, |heap| {
        assert_eq!(heap.latest_failure(), None);
        let kept = Block::new(heap, layout(100, 8), 1).unwrap();
        for (size, align) in [(MIB, 8), (isize::MAX as usize - 7, 8), (8, 1 << 46), (1 << 46, 8)] {
            let before = heap.statistics();
            assert!(Block::new(heap, layout(size, align), 1).is_none());
            let failure = heap.latest_failure().unwrap();
            assert_eq!((failure.layout, failure.statistics), (layout(size, align), before));
            assert_eq!(heap.statistics(), before);
        }
        drop(kept);
    });
}

#[test]
fn tiny_ranges_hold_what_they_can() {
    let memory = Memory::new(256 * KIB, 4096);
    for len in [0, 100, 40 * KIB, 70 * KIB, 130 * KIB, 256 * KIB] {
        // SAFETY: the memory is the test's alone.
        let heap = TestHeap::new(unsafe { OneRange::new(memory.start, len) });
        let before = heap.statistics();
        let sizes = [8, 100, 5000, 40 * KIB, 100 * KIB];
        drop(sizes.map(|size| Block::new(&heap, layout(size, 8), 1)));
        assert_eq!(heap.statistics(), before);
        assert_eq!(Block::new(&heap, layout(40 * KIB, 8), 1).is_some(), len >= 70 * KIB, "{len}");
    }
}

#[test]
fn zeroed_blocks_are() {
    with_heap(MIB, |heap| {
        for size in [100, 40 * KIB, 300 * KIB] {
            drop(Block::new(heap, layout(size, 8), 0xff).unwrap());
            // SAFETY: the layout has a size, and the block is freed with it.
            unsafe {
                let block = NonNull::new(heap.alloc_zeroed(layout(size, 8))).unwrap();
                assert!(core::slice::from_raw_parts(block.as_ptr(), size).iter().all(|byte| *byte == 0));
                heap.dealloc(block.as_ptr(), layout(size, 8));
            }
        }
    });
}

/// The CPU that a test plays.
static PLAYED: AtomicUsize = AtomicUsize::new(0);
struct Played;

// SAFETY: 1, the test plays 0 and 1, of two. 2, it is one thread.
unsafe impl CurrentCpu for Played {
    fn index() -> usize {
        PLAYED.load(Ordering::Relaxed)
    }
}

#[test]
fn what_one_cpu_allocates_another_may_free() {
    let memory = Memory::new(2 * MIB, 4096);
    let heap = Heap::<OneRange, Played, 2>::new(memory.source(0));
    let before = heap.statistics();
    let layouts = [16, 600, 20 * KIB, 50 * KIB, 200 * KIB].map(|size| layout(size, 8));
    for round in 0..if cfg!(miri) { 20 } else { 1000 } {
        PLAYED.store(round % 2, Ordering::Relaxed);
        // SAFETY: the layouts have sizes, and the blocks are freed with them.
        unsafe {
            let blocks = layouts.map(|layout| heap.alloc(layout));
            assert!(blocks.iter().all(|block| !block.is_null()));
            PLAYED.store((round + 1) % 2, Ordering::Relaxed);
            blocks.into_iter().zip(layouts).for_each(|(block, layout)| heap.dealloc(block, layout));
        }
        assert_eq!(heap.statistics(), before);
    }
    for cpu in 0..2 {
        PLAYED.store(cpu, Ordering::Relaxed);
        heap.trim();
    }
    assert!(heap.with_shared(|shared| shared.source.is_whole()));
}

/// A source in the middle of which a handler allocates.
struct Interrupted;

static INTERRUPTED: Heap<Interrupted, OneThread> = Heap::new(Interrupted);

// SAFETY: it gives nothing out.
unsafe impl RangeSource for Interrupted {
    fn take(&mut self, _: Layout, _: End) -> Option<NonNull<u8>> {
        // SAFETY: the layout has a size.
        NonNull::new(unsafe { INTERRUPTED.alloc(layout(8, 8)) })
    }

    unsafe fn give_back(&mut self, _: NonNull<u8>, _: usize) {}

    unsafe fn grow(&mut self, _: NonNull<u8>, _: usize, _: usize) -> bool {
        false
    }

    unsafe fn shrink(&mut self, _: NonNull<u8>, _: usize, _: usize) {}

    fn starts_at(&self, _: usize) -> bool {
        false
    }

    fn at(&self, _: usize) -> *mut u8 {
        core::ptr::null_mut()
    }

    fn len_bytes(&self) -> u64 {
        0
    }

    fn free_bytes(&self) -> u64 {
        0
    }

    fn largest_free_bytes(&self) -> u64 {
        0
    }

    fn overhead_bytes(&self) -> u64 {
        0
    }
}

#[test]
#[should_panic = "handlers must not"]
fn a_handler_that_allocates_in_the_middle_is_told_so() {
    // SAFETY: the layout has a size.
    let _ = unsafe { INTERRUPTED.alloc(layout(8, 8)) };
}

/// Blocks of a MiB until no more fit, and the list of them.
fn take_all(heap: &TestHeap) -> usize {
    let list = Block::new(heap, layout(1500, 8), 1).unwrap();
    let mut blocks = Vec::new();
    while let Some(block) = Block::new(heap, layout(MIB, 1), 2) {
        blocks.push(block);
    }
    drop(list);
    blocks.len()
}

#[test]
#[cfg_attr(miri, ignore = "much memory is touched")]
fn as_much_fits_the_second_time() {
    with_heap(64 * MIB, |heap| {
        for align_bits in 0..=21 {
            let sizes = [1, 7, 8, 24, 100, 4095, 4096, 4097, 70_000];
            let blocks = sizes.map(|size| Block::new(heap, layout(size, 1 << align_bits), 3).unwrap());
            drop(blocks);
        }
        assert_eq!([take_all(heap), take_all(heap), take_all(heap)], [63; 3]);
    });
}

#[test]
fn the_last_memory_is_enough_for_a_block_of_each_length() {
    with_heap(4 * MIB, |heap| {
        let free = heap.statistics().free_bytes as usize;
        let most = Block::new(heap, layout(free - 700 * KIB, 8), 1).unwrap();
        let sizes = (4..=17).map(|bits| 1 << bits);
        let blocks: Vec<_> = sizes.map(|size| Block::new(heap, layout(size, 8), 2).unwrap()).collect();
        drop((blocks, most));
    });
}
