//! Bandwidth and latency by working set.

use crate::kernel::{BLOCK_LEN, Block, Kernels, Pattern, copy_string, fill_string};
use core::hint::black_box;
use core::time::Duration;

/// Smallest working set in bytes; each further one is four times as large.
const SMALLEST: usize = 16 << 10;
/// How long each figure is measured.
const TIME: Duration = Duration::from_millis(20);
/// Dependent reads between two looks at the clock.
const STEPS: usize = 1 << 14;

/// An operation whose bandwidth is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Vector loads.
    Read,
    /// `rep stosq`.
    Write,
    /// Vector stores past the caches.
    WritePastCaches,
    /// `rep movsb`, from one half of the working set to the other.
    Copy,
    /// Vector loads, and vector stores past the caches.
    CopyPastCaches,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Read, Self::Write, Self::WritePastCaches, Self::Copy, Self::CopyPastCaches];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::WritePastCaches => "write-nt",
            Self::Copy => "copy",
            Self::CopyPastCaches => "copy-nt",
        }
    }

    /// Does it once. Returns the bytes read and written.
    fn run(self, kernels: Kernels, blocks: &mut [Block]) -> u64 {
        let (lower, upper) = blocks.split_at_mut(blocks.len() / 2);
        match self {
            Self::Read => _ = black_box(kernels.read(blocks)),
            Self::Write => fill_string(blocks, 1),
            Self::WritePastCaches => {
                kernels.fill(blocks, &mut Pattern::Linear { block: Block([1; 8]), step: 0 })
            }
            Self::Copy => copy_string(lower, upper),
            Self::CopyPastCaches => kernels.copy(lower, upper),
        }
        (blocks.len() * BLOCK_LEN) as u64
    }
}

/// The working sets that fit into `len` blocks, in blocks: powers of two.
pub fn working_sets(len: usize) -> impl Iterator<Item = usize> {
    core::iter::successors(Some(SMALLEST / BLOCK_LEN), |blocks| blocks.checked_mul(4))
        .take_while(move |blocks| *blocks <= len)
}

/// Bytes, read and written together, and the time they took. The memory has been touched once before.
pub fn bandwidth(
    operation: Operation,
    kernels: Kernels,
    blocks: &mut [Block],
    now: impl Fn() -> Duration,
) -> (u64, Duration) {
    operation.run(kernels, blocks);
    let start = now();
    let mut bytes = 0;
    loop {
        bytes += operation.run(kernels, blocks);
        let time = now().saturating_sub(start);
        if time >= TIME {
            return (bytes, time);
        }
    }
}

/// Dependent reads of one block each, and the time they took. The number of blocks is a power of two.
pub fn latency(blocks: &mut [Block], now: impl Fn() -> Duration) -> (u64, Duration) {
    link(blocks);
    let mut at = chase(blocks, 0, blocks.len().min(STEPS));
    let start = now();
    let mut reads = 0;
    loop {
        at = chase(blocks, at, STEPS);
        reads += STEPS as u64;
        let time = now().saturating_sub(start);
        if time >= TIME {
            black_box(at);
            return (reads, time);
        }
    }
}

/// Makes word 0 of each block the index of the next, in one cycle through all whose order no prefetcher foresees: a linear
/// congruential generator, which has the full period when the length is a power of two (Knuth, "The Art of Computer
/// Programming", volume 2, 3.2.1.2, theorem A; his multiplier for MMIX).
fn link(blocks: &mut [Block]) {
    const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
    const INCREMENT: u64 = 1_442_695_040_888_963_407;
    let mask = blocks.len() as u64 - 1;
    for (block, index) in blocks.iter_mut().zip(0_u64..) {
        block.0[0] = index.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & mask;
    }
}

/// Follows the indices.
#[inline(never)]
fn chase(blocks: &[Block], start: usize, steps: usize) -> usize {
    (0..steps).fold(start, |at, _| blocks[at].0[0] as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn links_are_one_cycle_through_all() {
        for len in [1, 2, 256, 4096] {
            let mut blocks = vec![Block([0; 8]); len];
            link(&mut blocks);
            let mut seen = vec![false; len];
            let mut at = 0;
            for _ in 0..len {
                assert!(!seen[at], "block {at} of {len} comes twice");
                seen[at] = true;
                at = chase(&blocks, at, 1);
            }
            assert_eq!(at, 0);
        }
    }

    #[test]
    fn working_sets_fit() {
        assert_eq!(working_sets(255).count(), 0);
        assert_eq!(working_sets(1024).collect::<Vec<_>>(), [256, 1024]);
    }
}
