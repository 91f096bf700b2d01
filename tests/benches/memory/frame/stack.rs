//! The least a pair costs, and the plainest way to 512 frames.

use super::{BlockSize, Blocks, Run, Source};
use crate::Result;
use crate::arena::{Arena, FRAMES, PAGE};
use crate::free_list::FreeList;

/// Addresses of free blocks in an array beside the memory.
pub(super) struct Stack(Vec<u64>);

impl<S: BlockSize> Source<S> for Stack {
    fn name() -> String {
        "array of addresses".to_owned()
    }

    fn new(_: Arena) -> Result<Self> {
        Ok(Self(FRAMES.step_by((S::FRAMES * PAGE) as usize).collect()))
    }
}

impl<S: BlockSize> Blocks<S> for Stack {
    type Block = u64;

    #[inline]
    fn take(&mut self) -> Option<u64> {
        self.0.pop()
    }

    #[inline]
    fn give(&mut self, block: u64) {
        self.0.push(block);
    }
}

/// 512 frames one by one from a free list.
pub(super) struct ListedRuns(FreeList);

impl Source<Run> for ListedRuns {
    fn name() -> String {
        "free list, 512 times".to_owned()
    }

    fn new(arena: Arena) -> Result<Self> {
        Ok(Self(FreeList::over(arena, FRAMES, PAGE)))
    }
}

impl Blocks<Run> for ListedRuns {
    type Block = Box<[u64; Run::FRAMES as usize]>;

    #[inline]
    fn take(&mut self) -> Option<Self::Block> {
        let mut frames = Box::new([0; Run::FRAMES as usize]);
        for frame in frames.iter_mut() {
            *frame = self.0.pop()?;
        }
        Some(frames)
    }

    #[inline]
    fn give(&mut self, frames: Self::Block) {
        // Backwards, so that the list is as it was.
        frames.iter().rev().for_each(|&frame| self.0.push(frame));
    }
}
