//! Fragmentation over time: phases of blocks of differing lengths, of which every other one is freed, with large blocks
//! between them. At the end, while what survived is still there, it is found out how large a block can be.

use super::BATCH;
use super::allocator::Allocator;
use super::block::Block;
use crate::churn::figure::Figure;
use crate::churn::random::Random;
use crate::churn::watch::Watch;
use crate::execute::Observer;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::array;
use core::ops::ControlFlow;

/// The lengths of each phase, as powers of two.
const PHASES: [(u32, u32); 6] = [(4, 8), (7, 11), (10, 14), (13, 17), (8, 12), (4, 16)];
/// Most blocks that a phase adds; about as many survive from the phases before it.
const PHASE_BLOCKS_MAX: usize = 8192;
/// Bytes of budget for each such block: what is noted about it is no part of the budget, and shall be small beside it.
const BUDGET_PER_BLOCK: u64 = 512;
/// Most bytes of blocks, and of large blocks.
const SHARE_MAX: u64 = 64 << 20;
/// Large blocks after each phase, and how long they are, as powers of two.
const LARGE_A_PHASE: usize = 4;
const LARGE_LEN_LOG2: (u32, u32) = (18, 22);

struct Scattered<'a, A: Allocator> {
    heap: &'a A,
    blocks: Vec<Option<Block<'a, A>>>,
    large: VecDeque<Block<'a, A>>,
    /// Most bytes of either kind.
    share: usize,
    random: Random,
    scatter: Figure,
    large_figure: Figure,
}

pub(super) fn run<A: Allocator>(
    heap: &A,
    budget_bytes: u64,
    random: Random,
    watch: &mut Watch<'_>,
) -> ControlFlow<()> {
    let (mut scatter, large_figure) = (Figure::new("scatter"), Figure::new("large"));
    let phase_blocks = ((budget_bytes / BUDGET_PER_BLOCK) as usize).clamp(BATCH, PHASE_BLOCKS_MAX);
    let (mut blocks, mut large) = (Vec::new(), VecDeque::new());
    // Every other block is freed, so that there are never more than twice those of a phase.
    let is_noted = blocks.try_reserve_exact(2 * phase_blocks + BATCH).is_ok()
        && large.try_reserve_exact(PHASES.len() * LARGE_A_PHASE).is_ok();
    if !is_noted {
        scatter.count(false);
        watch.report(scatter);
        return ControlFlow::Continue(());
    }
    let share = (budget_bytes / 2).min(SHARE_MAX) as usize;
    let mut scattered = Scattered { heap, blocks, large, share, random, scatter, large_figure };
    let ended = PHASES.into_iter().try_for_each(|lengths| scattered.phase(lengths, phase_blocks, watch));
    scattered.scatter.room = ended.is_continue().then(|| heap.room());
    let Scattered { blocks, large, scatter, large_figure, .. } = scattered;
    watch.report(scatter);
    watch.report(large_figure);
    ended?;
    blocks.iter().flatten().chain(&large).try_for_each(|block| {
        let read = block.verify(watch);
        watch.progress(read)
    })
}

impl<A: Allocator> Scattered<'_, A> {
    fn phase(&mut self, lengths: (u32, u32), most_blocks: usize, watch: &mut Watch<'_>) -> ControlFlow<()> {
        let mut room = self.share - self.blocks.iter().flatten().map(Block::len).sum::<usize>();
        for _ in 0..most_blocks.div_ceil(BATCH) {
            if room < 1 << lengths.1 {
                break;
            }
            room -= self.add(lengths, room, watch)?;
        }
        self.free_every_other(watch)?;
        (0..LARGE_A_PHASE).try_for_each(|_| self.add_large(watch))
    }

    /// Allocates a batch, or as much of it as there is room for. Returns how many bytes it has.
    fn add(
        &mut self,
        (least, most): (u32, u32),
        mut room: usize,
        watch: &mut Watch<'_>,
    ) -> ControlFlow<(), usize> {
        let wanted: [(usize, u64); BATCH] = array::from_fn(|_| {
            let len = self.random.len(least, most).min(room);
            room -= len;
            (len, self.random.word())
        });
        let first = self.blocks.len();
        watch.time(&mut self.scatter, |figure| {
            for (len, seed) in wanted.into_iter().filter(|(len, _)| *len > 0) {
                let block = Block::allocate(self.heap, len, seed);
                figure.count(block.is_some());
                self.blocks.push(block);
            }
        });
        let added = &mut self.blocks[first..];
        let bytes = added.iter_mut().flatten().map(Block::mark).sum();
        let len = added.iter().flatten().map(Block::len).sum();
        watch.progress(bytes)?;
        ControlFlow::Continue(len)
    }

    fn free_every_other(&mut self, watch: &mut Watch<'_>) -> ControlFlow<()> {
        for block in self.blocks.iter().step_by(2).flatten() {
            let read = block.verify(watch);
            watch.progress(read)?;
        }
        watch.time(&mut self.scatter, |figure| {
            for block in self.blocks.iter_mut().step_by(2).filter(|block| block.is_some()) {
                *block = None;
                figure.count(true);
            }
        });
        self.blocks.retain(Option::is_some);
        ControlFlow::Continue(())
    }

    /// Allocates a large block. The oldest go when their share would be exceeded.
    fn add_large(&mut self, watch: &mut Watch<'_>) -> ControlFlow<()> {
        let (least, most) = LARGE_LEN_LOG2;
        if self.share < 1 << least {
            return ControlFlow::Continue(());
        }
        // Several fit into the share at a time, if it is large enough.
        let most = (self.share / LARGE_A_PHASE).max(1).ilog2().clamp(least + 1, most);
        let len = self.random.len(least, most).min(self.share);
        let mut bytes = 0;
        while self.large.iter().map(Block::len).sum::<usize>() + len > self.share {
            let Some(oldest) = self.large.pop_front() else { break };
            bytes += oldest.verify(watch);
            watch.time(&mut self.large_figure, |figure| {
                drop(oldest);
                figure.count(true);
            });
        }
        let seed = self.random.word();
        let block = watch.time(&mut self.large_figure, |figure| {
            let block = Block::allocate(self.heap, len, seed);
            figure.count(block.is_some());
            block
        });
        if let Some(mut block) = block {
            bytes += block.mark();
            self.large.push_back(block);
        }
        watch.progress(bytes)
    }
}
