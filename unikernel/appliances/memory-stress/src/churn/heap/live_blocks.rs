//! Many live blocks of random lengths, of which one after the other is replaced, then resized.

use super::BATCH;
use super::allocator::Allocator;
use super::block::Block;
use crate::churn::figure::Figure;
use crate::churn::random::Random;
use crate::churn::watch::Watch;
use crate::execute::Observer;
use alloc::vec::Vec;
use core::array;
use core::ops::ControlFlow;

/// The shortest and the longest block, as powers of two.
const LEN_LOG2: (u32, u32) = (4, 16);
/// Twice what a block takes in the mean, in bytes.
const BUDGET_PER_BLOCK: u64 = 16 << 10;
/// Most blocks.
const BLOCKS_MAX: usize = 4096;
/// How often each is replaced and resized, in the mean.
const REPLACED: usize = 4;
const RESIZED: usize = 1;

struct LiveBlocks<'a, A: Allocator> {
    heap: &'a A,
    blocks: Vec<Option<Block<'a, A>>>,
    /// Bytes of all blocks.
    live: usize,
    budget: usize,
    random: Random,
}

/// What one operation of a batch does.
#[derive(Clone, Copy)]
struct Step {
    index: usize,
    len: usize,
    seed: u64,
}

pub(super) fn run<A: Allocator>(
    heap: &A,
    budget_bytes: u64,
    random: Random,
    watch: &mut Watch<'_>,
) -> ControlFlow<()> {
    let count = ((budget_bytes / BUDGET_PER_BLOCK) as usize).clamp(BATCH, BLOCKS_MAX);
    let mut blocks = Vec::new();
    let mut replaced = Figure::new("replace");
    if blocks.try_reserve_exact(count).is_err() {
        replaced.count(false);
        watch.report(replaced);
        return ControlFlow::Continue(());
    }
    blocks.resize_with(count, || None);
    let batches = count / BATCH;
    let mut live = LiveBlocks { heap, blocks, live: 0, budget: budget_bytes as usize, random };
    // All places are empty at first: the blocks that are there to be replaced are no part of the figure.
    let mut first = Figure::new("");
    let mut ended = (0..2 * batches).try_for_each(|_| live.replace(&mut first, watch));
    replaced.refused = first.refused;
    if ended.is_continue() {
        ended = (0..REPLACED * batches).try_for_each(|_| live.replace(&mut replaced, watch));
    }
    watch.report(replaced);
    ended?;
    let mut resized = Figure::new("resize");
    let ended = (0..RESIZED * batches).try_for_each(|_| live.resize(&mut resized, watch));
    watch.report(resized);
    ended?;
    live.blocks.iter().flatten().try_for_each(|block| {
        let read = block.verify(watch);
        watch.progress(read)
    })
}

impl<A: Allocator> LiveBlocks<'_, A> {
    /// Replaces a batch of blocks.
    fn replace(&mut self, figure: &mut Figure, watch: &mut Watch<'_>) -> ControlFlow<()> {
        let (steps, mut bytes) = self.plan(watch);
        watch.time(figure, |figure| {
            for step in steps {
                let place = &mut self.blocks[step.index];
                *place = None;
                *place = Block::allocate(self.heap, step.len, step.seed);
                figure.count(place.is_some());
            }
        });
        for step in steps {
            match &mut self.blocks[step.index] {
                Some(block) => bytes += block.mark(),
                None => self.live -= step.len,
            }
        }
        watch.progress(bytes)
    }

    /// Resizes a batch of blocks.
    fn resize(&mut self, figure: &mut Figure, watch: &mut Watch<'_>) -> ControlFlow<()> {
        let (steps, mut bytes) = self.plan(watch);
        watch.time(figure, |figure| {
            for step in steps {
                if let Some(block) = &mut self.blocks[step.index] {
                    figure.count(block.resize(step.len));
                }
            }
        });
        for step in steps {
            self.live -= step.len;
            if let Some(block) = &mut self.blocks[step.index] {
                bytes += block.verify(watch) + block.mark();
                self.live += block.len();
            }
        }
        watch.progress(bytes)
    }

    /// Chooses a batch of blocks, each from a stretch of its own, so that none is chosen twice; verifies them, and chooses
    /// their next lengths within the budget, which are counted in place of the old ones. Returns the bytes read, too.
    fn plan(&mut self, watch: &mut Watch<'_>) -> ([Step; BATCH], u64) {
        let mut read = 0;
        let steps = array::from_fn(|stretch| {
            let (start, end) =
                (stretch * self.blocks.len() / BATCH, (stretch + 1) * self.blocks.len() / BATCH);
            let index = start + self.random.below(end - start);
            if let Some(block) = &self.blocks[index] {
                read += block.verify(watch);
                self.live -= block.len();
            }
            let (least, most) = LEN_LOG2;
            let room = self.budget.saturating_sub(self.live).max(1);
            let len = self.random.len(least, most).min(room);
            self.live += len;
            Step { index, len, seed: self.random.word() }
        });
        (steps, read)
    }
}
