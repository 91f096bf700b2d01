//! The memory core and the oracle, side by side.
//!
//! | file | about |
//! |---|---|
//! | `ground` | the simulated machine |
//! | `modelled` | what the three kinds need here, each by its own types |
//! | `supply` | what mappings are made from |
//! | `steps` | one operation, and the comparison after it |
//! | `prepare` | what operations need to have something to work on |
//! | `ranges` | ranges given out, given back, cut and joined, on both |
//! | `apply` | mappings and changes, on both |
//! | `flush` | flushing and releasing, on both |
//! | `relocate` | moves, on both |
//! | `check` | whether both agree |
//! | `finish` | everything goes back |
//!
//! A disagreement panics, with the step in the message.

mod apply;
mod check;
mod finish;
mod flush;
mod ground;
mod modelled;
mod prepare;
mod ranges;
mod relocate;
mod steps;
mod supply;

use crate::oracle::{Block, Debt, Host, Oracle};
use crate::sequence::{Machine, Sequence};
use ground::Ground;
use unikernel::memory::page_table::{Detached, Error, Kva, Mmio, Ownership, Tracked, VaRange};
use unikernel::memory::simulation::SimulatedCpu;

/// The machine's handle.
pub(crate) type Cpu<'a> = SimulatedCpu<'a>;

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Both did it.
    Done,
    /// Both refused it, with this error.
    Refused(Error),
    /// There was nothing to do it with.
    Skipped,
}

/// What the program owns of one kind.
pub(crate) struct Side<'a, O: Ownership> {
    ranges: Vec<VaRange<O, Cpu<'a>>>,
    waiting: Vec<Waiting<'a, O>>,
}

impl<O: Ownership> Side<'_, O> {
    const fn new() -> Self {
        Self { ranges: Vec::new(), waiting: Vec::new() }
    }
}

/// What awaits a flush, with what the oracle knows of it.
pub(crate) struct Waiting<'a, O: Ownership> {
    detached: Detached<O, Cpu<'a>>,
    debt: Debt,
    owned: Block,
}

/// What the program owns.
pub(crate) struct Sides<'a> {
    tracked: Side<'a, Tracked>,
    mmio: Side<'a, Mmio>,
    kva: Side<'a, Kva>,
}

/// Both.
pub struct World<'a> {
    ground: Ground<'a>,
    sides: Sides<'a>,
    oracle: Oracle,
    host: Host,
    steps: u64,
    /// Whether something was forgotten, so that not all can go back.
    leaked: bool,
}

impl World<'_> {
    /// Runs a sequence, and gives everything back.
    ///
    /// # Panics
    /// If the two disagree.
    pub fn run(sequence: &Sequence) {
        World::with(sequence.machine, |mut world| {
            for operation in &sequence.operations {
                world.step(operation);
            }
            world.finish();
        });
    }

    /// Runs `test` on a new machine.
    ///
    /// # Panics
    /// If there is no such machine, which is a mistake in this crate.
    pub fn with<R>(machine: Machine, test: impl FnOnce(World<'_>) -> R) -> R {
        ground::with_ground(machine, |ground| {
            let sides = Sides { tracked: Side::new(), mmio: Side::new(), kva: Side::new() };
            let oracle = Oracle::new(ground.free());
            let host = Host { one_gib_leaves: !machine.pvm };
            test(World { ground, sides, oracle, host, steps: 0, leaked: false })
        })
    }
}
