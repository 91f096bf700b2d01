//! The heap over memory that is there from the start, against a list of blocks.
//!
//! | file | about |
//! |---|---|
//! | `operation` | what can be done, from bytes |
//! | `block` | a block, and what was written to it |
//! | `room` | whether one more would have fitted |

mod block;
mod operation;
mod room;

use super::memory::Memory;
use block::Block;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ops::Range;
use core::ptr::NonNull;
use operation::{Action, HEAP_MAX, OFFSET_MAX};
pub(super) use operation::{BlockHeap, BlockOperation};
use room::{GRANULE, has_room};
use std::collections::BTreeMap;
use unikernel::memory::heap::{CurrentCpu, Heap, OneRange, Statistics};

const CPUS: usize = 2;

thread_local! {
    /// The CPU that the thread plays.
    static PLAYED: Cell<usize> = const { Cell::new(0) };
    /// Memory for one heap after the other, with what the last one left in it.
    static MEMORY: Memory = Memory::new(HEAP_MAX + OFFSET_MAX, 4096);
}

/// The CPU that the thread plays, for heaps that no other thread uses.
struct Played;

// SAFETY: 1, one of two is played. 2, each heap is used by one thread, whose calls do not interrupt each other.
unsafe impl CurrentCpu for Played {
    fn index() -> usize {
        PLAYED.get()
    }
}

type TestedHeap = Heap<OneRange, Played, CPUS>;

/// The heap, and what is allocated.
struct Blocks<'h> {
    heap: &'h TestedHeap,
    at_first: Statistics,
    /// Addresses that surely can be blocks'.
    addresses: Range<usize>,
    blocks: Vec<Block>,
    /// Where each block ends, by where it starts.
    ends: BTreeMap<usize, usize>,
    steps: usize,
}

/// Does the operations on a new heap, and frees all.
pub(super) fn run(BlockHeap { len_bytes, offset }: BlockHeap, operations: &[BlockOperation]) {
    MEMORY.with(|memory| {
        // SAFETY: the memory is as long as the longest heap behind the furthest start.
        let start = unsafe { memory.start().add(offset) };
        // SAFETY: it is this heap's, which nothing was left of when the last one's run ended.
        let heap = TestedHeap::new(unsafe { OneRange::new(start, len_bytes) });
        let at_first = heap.statistics();
        assert_eq!(at_first.used_bytes + at_first.free_bytes, len_bytes as u64);
        // The notes come first, and granules after; where exactly is the heap's.
        let granules = at_first.free_bytes as usize;
        let last_start = start.addr() + len_bytes - granules;
        let first_end = start.addr().next_multiple_of(GRANULE) + granules;
        let addresses = last_start.next_multiple_of(GRANULE)..first_end;
        let (blocks, ends) = (Vec::new(), BTreeMap::new());
        let mut world = Blocks { heap: &heap, at_first, addresses, blocks, ends, steps: 0 };
        for BlockOperation { cpu, action } in operations {
            PLAYED.set(*cpu);
            world.step(*action);
            world.check();
        }
        world.finish();
    });
}

impl Blocks<'_> {
    fn step(&mut self, action: Action) {
        self.steps += 1;
        match action {
            Action::Allocate { layout, zeroed } => self.allocate(layout, zeroed),
            Action::Resize { which, size } => self.resize(which, size),
            Action::Free { which } if !self.blocks.is_empty() => {
                self.free(usize::from(which) % self.blocks.len());
            }
            Action::FreeMost { but } => {
                for index in (0..self.blocks.len()).rev().filter(|index| index % usize::from(but) != 0) {
                    self.free(index);
                }
            }
            Action::Free { .. } => {}
            Action::Trim => self.heap.trim(),
        }
    }

    fn allocate(&mut self, layout: Layout, zeroed: bool) {
        let before = self.heap.statistics();
        let heap = self.heap;
        // SAFETY: layouts of operations have sizes.
        let allocate = || unsafe { if zeroed { heap.alloc_zeroed(layout) } else { heap.alloc(layout) } };
        let Some(start) = self.attempt(layout, allocate) else {
            return assert_eq!(heap.statistics(), before);
        };
        if zeroed {
            Block::check_zeroed(start, layout);
        }
        let used_bytes = heap.statistics().used_bytes - before.used_bytes;
        self.add(Block::new(start, layout, used_bytes, self.steps));
    }

    fn resize(&mut self, which: u8, size: usize) {
        if self.blocks.is_empty() {
            return;
        }
        let index = usize::from(which) % self.blocks.len();
        let (old, old_start) = (self.blocks[index].layout, self.blocks[index].start);
        let Ok(new) = Layout::from_size_align(size, old.align()) else { return };
        let before = self.heap.statistics();
        let heap = self.heap;
        // SAFETY: the block is allocated with this layout, and the new one has a size.
        let Some(start) = self.attempt(new, || unsafe { heap.realloc(old_start.as_ptr(), old, size) }) else {
            self.blocks[index].check(old_start, old.size());
            return assert_eq!(heap.statistics(), before);
        };
        let block = self.take(index);
        block.check(start, old.size().min(size));
        let others = before.used_bytes - block.used_bytes;
        self.add(Block::new(start, new, heap.statistics().used_bytes - others, self.steps));
    }

    /// Tries, and if there is no room, once more when the other CPU has nothing at hand any more. Then there is none.
    fn attempt(&self, layout: Layout, allocate: impl Fn() -> *mut u8) -> Option<NonNull<u8>> {
        let allocated = NonNull::new(allocate()).or_else(|| {
            self.trim();
            NonNull::new(allocate())
        });
        if allocated.is_none() {
            let failed = self.heap.latest_failure();
            assert_eq!(
                failed.map(|failed| (failed.layout, failed.statistics)),
                Some((layout, self.heap.statistics()))
            );
            let has_room = has_room(&self.addresses, self.blocks.iter(), layout);
            assert!(!has_room, "{layout:?} was refused, and there is room for it");
        }
        allocated
    }

    fn free(&mut self, index: usize) {
        let before = self.heap.statistics();
        let block = self.take(index);
        block.check(block.start, block.layout.size());
        // SAFETY: allocated with this layout, and not used again.
        unsafe { self.heap.dealloc(block.start.as_ptr(), block.layout) };
        assert_eq!(
            before.used_bytes - self.heap.statistics().used_bytes,
            block.used_bytes,
            "{:?}",
            block.layout
        );
    }

    fn take(&mut self, index: usize) -> Block {
        let block = self.blocks.swap_remove(index);
        self.ends.remove(&block.addresses().start);
        block
    }

    /// Enters a block that overlaps no other, and lies in the heap.
    fn add(&mut self, block: Block) {
        let Range { start, end } = block.addresses();
        let last_end = self.ends.range(..end).next_back().map_or(0, |(_, end)| *end);
        assert!(last_end <= start, "{start:#x}..{end:#x} overlaps another, which ends at {last_end:#x}");
        self.ends.insert(start, end);
        self.blocks.push(block);
    }

    fn check(&self) {
        let Statistics { used_bytes, free_bytes } = self.heap.statistics();
        let blocks: u64 = self.blocks.iter().map(|block| block.used_bytes).sum();
        assert_eq!(used_bytes, self.at_first.used_bytes + blocks);
        assert_eq!(used_bytes + free_bytes, self.at_first.used_bytes + self.at_first.free_bytes);
    }

    /// Gives back what either CPU has at hand.
    fn trim(&self) {
        let played = PLAYED.get();
        for cpu in (0..CPUS).map(|cpu| (played + 1 + cpu) % CPUS) {
            PLAYED.set(cpu);
            self.heap.trim();
        }
    }

    /// Frees all. Then the heap is in one piece again.
    fn finish(mut self) {
        while !self.blocks.is_empty() {
            self.free(self.blocks.len() - 1);
        }
        assert_eq!(self.heap.statistics(), self.at_first, "something is used");
        self.trim();
        self.check();
        let whole = Layout::from_size_align(self.at_first.free_bytes as usize, 1);
        if let Ok(whole) = whole
            && whole.size() > 0
        {
            self.allocate(whole, false);
            assert_eq!(self.blocks.len(), 1, "the memory is in pieces");
            self.free(0);
        }
        assert_eq!(self.heap.statistics(), self.at_first);
    }
}
