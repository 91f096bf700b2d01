//! Memory under test, as methods see it: regions that can be filled, verified, updated and moved, some blocks at a time.

use crate::content::{CHUNK_BLOCKS, Content};
use crate::kernel::{BLOCK_LEN, Block, Direction, Kernels, Pattern, WrongBlock};
use alloc::vec::Vec;
use core::ops::Range;

/// A stretch of memory, in blocks. The trait is the seam at which tests put memory with faults.
pub trait Region {
    /// How many blocks it has, a multiple of twice [`CHUNK_BLOCKS`].
    fn len_blocks(&self) -> usize;
    /// Address of its first byte.
    fn address(&self) -> u64;
    /// Fills blocks; `pattern` stands at the first.
    fn fill(&mut self, blocks: Range<usize>, pattern: Pattern);
    /// Verifies blocks; `pattern` stands at the first. Reports with indices into the region.
    fn verify(&mut self, blocks: Range<usize>, pattern: Pattern, report: &mut dyn FnMut(WrongBlock));
    /// Verifies and replaces blocks; the patterns stand at the first to be visited.
    fn update(
        &mut self,
        blocks: Range<usize>,
        direction: Direction,
        old: Pattern,
        new: Pattern,
        report: &mut dyn FnMut(WrongBlock),
    );
    /// Copies blocks to where `to` is the first.
    fn copy(&mut self, blocks: Range<usize>, to: usize);
    /// Inverts one bit of one word, behind the back of the method.
    fn flip(&mut self, word: usize, bit: u32);
}

/// Real memory.
#[derive(Debug)]
pub struct RealRegion {
    blocks: Vec<Block>,
    kernels: Kernels,
}

impl RealRegion {
    /// Takes `len` blocks from the heap, or returns `None` if there is no room. The length is rounded down to what a region
    /// must have.
    #[must_use]
    pub fn take(len: usize, kernels: Kernels) -> Option<Self> {
        let len = len - len % (2 * CHUNK_BLOCKS);
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(len).ok()?;
        blocks.resize(len, Block([0; 8]));
        Some(Self { blocks, kernels }).filter(|_| len > 0)
    }
}

impl RealRegion {
    /// The blocks themselves, for measuring.
    pub fn blocks_mut(&mut self) -> &mut [Block] {
        &mut self.blocks
    }
}

impl Region for RealRegion {
    fn len_blocks(&self) -> usize {
        self.blocks.len()
    }

    fn address(&self) -> u64 {
        self.blocks.as_ptr() as u64
    }

    fn fill(&mut self, blocks: Range<usize>, mut pattern: Pattern) {
        self.kernels.fill(&mut self.blocks[blocks], &mut pattern);
    }

    fn verify(&mut self, blocks: Range<usize>, mut pattern: Pattern, report: &mut dyn FnMut(WrongBlock)) {
        let start = blocks.start;
        let shift = |wrong: WrongBlock| WrongBlock { index: wrong.index + start, ..wrong };
        self.kernels.verify(&self.blocks[blocks], &mut pattern, |wrong| report(shift(wrong)));
    }

    fn update(
        &mut self,
        blocks: Range<usize>,
        direction: Direction,
        mut old: Pattern,
        mut new: Pattern,
        report: &mut dyn FnMut(WrongBlock),
    ) {
        let start = blocks.start;
        let shift = |wrong: WrongBlock| WrongBlock { index: wrong.index + start, ..wrong };
        self.kernels
            .update(&mut self.blocks[blocks], direction, &mut old, &mut new, |wrong| report(shift(wrong)));
    }

    fn copy(&mut self, blocks: Range<usize>, to: usize) {
        let len = blocks.len();
        let (lower, upper) = self.blocks.split_at_mut(blocks.start.max(to));
        if to < blocks.start {
            self.kernels.copy(&mut lower[to..to + len], &upper[..len]);
        } else {
            self.kernels.copy(&mut upper[..len], &lower[blocks]);
        }
    }

    fn flip(&mut self, word: usize, bit: u32) {
        self.blocks[word / 8].0[word % 8] ^= 1 << bit;
    }
}

/// How many blocks a content's pattern holds from this index on, at most `len`.
#[must_use]
pub fn run_len(content: Content, index: usize, len: usize) -> usize {
    match content {
        Content::Random { .. } => len.min(CHUNK_BLOCKS - index % CHUNK_BLOCKS),
        _ => len,
    }
}

/// Bytes in so many blocks.
#[must_use]
pub const fn len_bytes(blocks: usize) -> u64 {
    (blocks * BLOCK_LEN) as u64
}
