//! The works of frame allocators, the same loop for every contestant.

use super::{BlockSize, Blocks, Large, Run, Small, Source};
use crate::Result;
use crate::arena::Arena;
use std::hint::black_box;
use system_tests::contest::{Contest, Reach, Role, Work, nanoseconds};
use system_tests::random::Random;

/// Pairs of a turn.
pub(super) const PAIRS: u64 = 200_000;
const RUN_PAIRS: u64 = 10_000;

/// All contests of frame allocators on one CPU.
pub(super) struct Contests {
    arena: Arena,
    small: Contest<'static, 1>,
    fragmented: Contest<'static, 1>,
    large: Contest<'static, 1>,
    run: Contest<'static, 1>,
}

impl Contests {
    /// All contests, without contestants.
    pub(super) fn new(arena: Arena) -> Self {
        let contest = |title, limit| Contest::new([Work { title, reach: Reach::Under(limit) }]);
        Self {
            arena,
            small: contest("take and give back a 4 KiB frame, all memory free", 3.0),
            fragmented: contest(
                "take a 4 KiB frame and give back another, random half of memory free",
                100.0,
            ),
            large: contest("take and give back a 2 MiB frame, all memory free", 3.0),
            run: contest("take and give back 512 frames, all memory free, per frame", 0.3),
        }
    }

    /// Enters a contestant into those of 4 KiB frames.
    pub(super) fn enter_small<A: Source<Small>>(&mut self, role: Role) {
        let arena = self.arena;
        self.small.enter(role, A::name(), move || pairs::<A, Small>(arena, PAIRS));
        self.fragmented.enter(role, A::name(), move || fragmented::<A>(arena));
    }

    /// Enters a contestant into that of 2 MiB frames.
    pub(super) fn enter_large<A: Source<Large>>(&mut self, role: Role) {
        let arena = self.arena;
        self.large.enter(role, A::name(), move || pairs::<A, Large>(arena, PAIRS));
    }

    /// Enters a contestant into that of runs.
    pub(super) fn enter_run<A: Source<Run>>(&mut self, role: Role) {
        let arena = self.arena;
        self.run.enter(role, A::name(), move || {
            let [pair] = pairs::<A, Run>(arena, RUN_PAIRS)?;
            Ok([pair / Run::FRAMES as f64])
        });
    }

    /// Holds them all.
    pub(super) fn hold(self) -> Result<()> {
        self.small.hold()?;
        self.fragmented.hold()?;
        self.large.hold()?;
        self.run.hold()
    }
}

/// Takes a block and gives it back, `count` times.
///
/// # Errors
///
/// When there is none.
#[inline]
pub(super) fn take_and_give<A: Blocks<S>, S>(allocator: &mut A, count: u64) -> Result<()> {
    for _ in 0..count {
        let block = allocator.take().ok_or("out of memory")?;
        allocator.give(black_box(block));
    }
    Ok(())
}

fn pairs<A: Source<S>, S>(arena: Arena, count: u64) -> Result<[f64; 1]> {
    let mut allocator = A::new(arena)?;
    let allocator = black_box(&mut allocator);
    take_and_give(allocator, 100)?;
    let time = nanoseconds(|| take_and_give(allocator, count))?;
    Ok([time / count as f64])
}

/// Takes all memory, gives a random half back in a random order, then replaces random frames by others.
fn fragmented<A: Source<Small>>(arena: Arena) -> Result<[f64; 1]> {
    let mut allocator = A::new(arena)?;
    let mut held = Vec::new();
    while let Some(block) = allocator.take() {
        held.push(block);
    }
    let mut random = Random::new(2849);
    random.shuffle(&mut held);
    let half = held.len() / 2;
    held.drain(half..).for_each(|block| allocator.give(block));
    let victims: Vec<usize> = (0..PAIRS).map(|_| random.below(half)).collect();
    let allocator = black_box(&mut allocator);
    let time = nanoseconds(|| {
        victims.iter().try_for_each(|&victim| {
            let block = allocator.take().ok_or("out of memory")?;
            allocator.give(std::mem::replace(&mut held[victim], block));
            Ok::<(), &str>(())
        })
    })?;
    black_box(&held);
    Ok([time / PAIRS as f64])
}
