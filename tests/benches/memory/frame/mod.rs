//! Frame allocators: what a contestant has to be able to do, and who takes part.

mod buddy;
mod ours;
mod stack;
pub(crate) mod two_cpus;
mod work;

use crate::Result;
use crate::arena::Arena;
use crate::free_list::FreeList;
use buddy::Buddy;
use ours::OnCpu;
use stack::{ListedRuns, Stack};
use system_tests::contest::Role;
use work::Contests;

/// What is taken and given back in one piece.
pub(crate) trait BlockSize {
    /// How many 4 KiB frames that is.
    const FRAMES: u64;
}

/// A 4 KiB frame.
pub(crate) enum Small {}

/// A 2 MiB frame, aligned to its size.
pub(crate) enum Large {}

/// 512 frames of 4 KiB, as they are needed to map 512 pages: they need not follow each other, nor be aligned.
pub(crate) enum Run {}

impl BlockSize for Small {
    const FRAMES: u64 = 1;
}

impl BlockSize for Large {
    const FRAMES: u64 = 512;
}

impl BlockSize for Run {
    const FRAMES: u64 = 512;
}

/// Takes blocks of one size and gives them back.
pub(crate) trait Blocks<S> {
    /// The owner of a block, or its address.
    type Block;

    /// A free block, or none when memory is full.
    fn take(&mut self) -> Option<Self::Block>;

    /// Gives one back.
    fn give(&mut self, block: Self::Block);
}

/// A frame allocator of one CPU.
pub(crate) trait Source<S>: Blocks<S> + Sized {
    /// What the printed tables call it.
    fn name() -> String;

    /// One over [`crate::arena::FRAMES`], all of it free.
    fn new(arena: Arena) -> Result<Self>;
}

/// Holds the contests of frame allocators on one CPU.
///
/// # Errors
///
/// When a contestant refuses its work or does it wrongly.
pub(crate) fn hold(arena: Arena) -> Result<()> {
    let mut contests = Contests::new(arena);
    contests.enter_small::<OnCpu>(Role::Ours);
    contests.enter_large::<OnCpu>(Role::Ours);
    contests.enter_run::<OnCpu>(Role::Ours);
    contests.enter_small::<Buddy>(Role::Peer);
    contests.enter_small::<FreeList>(Role::Peer);
    contests.enter_small::<Stack>(Role::Floor);
    contests.enter_large::<Buddy>(Role::Peer);
    contests.enter_large::<FreeList>(Role::Peer);
    contests.enter_large::<Stack>(Role::Floor);
    contests.enter_run::<Buddy>(Role::Peer);
    contests.enter_run::<ListedRuns>(Role::Peer);
    contests.hold()
}
