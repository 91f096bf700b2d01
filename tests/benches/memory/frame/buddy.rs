//! `buddy_system_allocator`, which keeps a set of free blocks for each power of two.

use super::{BlockSize, Blocks, Source};
use crate::Result;
use crate::arena::{Arena, FRAMES, PAGE};
use buddy_system_allocator::FrameAllocator;

/// Its frame allocator. Blocks are numbers of frames.
pub(super) struct Buddy(Box<FrameAllocator>);

impl<S: BlockSize> Source<S> for Buddy {
    fn name() -> String {
        "buddy_system_allocator".to_owned()
    }

    fn new(_: Arena) -> Result<Self> {
        let mut allocator = Box::new(FrameAllocator::new());
        allocator.add_frame((FRAMES.start / PAGE) as usize, (FRAMES.end / PAGE) as usize);
        Ok(Self(allocator))
    }
}

impl<S: BlockSize> Blocks<S> for Buddy {
    type Block = usize;

    #[inline]
    fn take(&mut self) -> Option<usize> {
        self.0.alloc(S::FRAMES as usize)
    }

    #[inline]
    fn give(&mut self, block: usize) {
        self.0.dealloc(block, S::FRAMES as usize);
    }
}
