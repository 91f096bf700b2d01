//! `heap-churn`: the global allocator under work like that of programs, every block verified.
//!
//! | part | operation | file |
//! |---|---|---|
//! | `replace` | free one of many live blocks of 16 B to 64 KiB, and allocate another in its place | `live_blocks` |
//! | `resize` | `realloc` one of them to another such length | `live_blocks` |
//! | `push` | push an element to one of some vectors that grow, to a million where there is room | `vectors` |
//! | `scatter` | allocate a block, or free every other one, in phases of differing lengths | `fragmentation` |
//! | `large` | allocate or free one of 256 KiB to 4 MiB between the phases | `fragmentation` |
//!
//! `replace` is after "larson" (Larson, Krishnan: "Memory allocation for long-running server applications", ISMM 1998).
//! The blocks of a part take no more than its budget together. What is refused is counted, and the work goes on without it.
//! In the first pass the times have in them what it costs when memory is touched that the machine has not used before.

mod allocator;
mod block;
mod fragmentation;
mod live_blocks;
#[cfg(test)]
mod tests;
mod vectors;

use super::random::Random;
use super::watch::Watch;
pub use allocator::{Allocator, GlobalHeap};
use core::ops::ControlFlow;

/// Operations between two looks at the clock. The blocks of a batch are marked when all of it was timed.
const BATCH: usize = 64;

/// Runs all parts with at most `budget_bytes` of blocks at a time. Breaks off when the observer says so.
pub fn run(heap: &impl Allocator, budget_bytes: u64, seed: u64, watch: &mut Watch<'_>) -> ControlFlow<()> {
    live_blocks::run(heap, budget_bytes, Random::new(seed, 1), watch)?;
    vectors::run(heap, budget_bytes, Random::new(seed, 2), watch)?;
    fragmentation::run(heap, budget_bytes, Random::new(seed, 3), watch)
}
