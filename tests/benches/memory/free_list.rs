//! The simplest frame allocator there is: a list through the free frames themselves.

use crate::Result;
use crate::arena::{Arena, FRAMES, NODES, PAGE};
use crate::frame::{BlockSize, Blocks, Source};
use crate::table::NodeFrames;
use std::cell::RefCell;
use std::ops::Range;
use std::thread::LocalKey;

/// Free blocks of one size. The first word of each is the physical address of the next, 0 in the last.
pub(crate) struct FreeList {
    arena: Arena,
    head: u64,
}

impl FreeList {
    /// The blocks of `step_bytes` in a range of FRAMES, lowest first.
    pub(crate) fn over(arena: Arena, range: Range<u64>, step_bytes: u64) -> Self {
        let mut list = Self { arena, head: 0 };
        for index in (0..(range.end - range.start) / step_bytes).rev() {
            list.push(range.start + index * step_bytes);
        }
        list
    }

    /// Takes the block that was given back last.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<u64> {
        if self.head == 0 {
            return None;
        }
        let block = self.head;
        // SAFETY: what is on the list lies in the arena, is aligned, and belongs to the list alone.
        self.head = unsafe { self.arena.pointer(block).read() };
        Some(block)
    }

    /// Puts a block of the arena on the list, which owns it from here.
    #[inline]
    pub(crate) fn push(&mut self, block: u64) {
        // SAFETY: blocks are aligned parts of the arena, and whoever gives one back uses it no more.
        unsafe { self.arena.pointer(block).write(self.head) };
        self.head = block;
    }
}

thread_local! {
    static CURRENT: RefCell<Option<FreeList>> = const { RefCell::new(None) };
}

impl NodeFrames for FreeList {
    const NAME: &'static str = "free list";

    fn new(arena: Arena) -> Result<Self> {
        Ok(Self::over(arena, NODES, PAGE))
    }

    #[inline]
    fn allocate(&mut self) -> Option<u64> {
        self.pop()
    }

    #[inline]
    fn free(&mut self, phys: u64) {
        self.push(phys);
    }

    fn current() -> &'static LocalKey<RefCell<Option<Self>>> {
        &CURRENT
    }
}

impl<S: BlockSize> Source<S> for FreeList {
    fn name() -> String {
        "free list".to_owned()
    }

    fn new(arena: Arena) -> Result<Self> {
        Ok(Self::over(arena, FRAMES, S::FRAMES * PAGE))
    }
}

impl<S: BlockSize> Blocks<S> for FreeList {
    type Block = u64;

    #[inline]
    fn take(&mut self) -> Option<u64> {
        self.pop()
    }

    #[inline]
    fn give(&mut self, block: u64) {
        self.push(block);
    }
}
