//! One step: an operation on both, and the comparison after it.

use super::modelled::Modelled;
use super::{Outcome, World};
use crate::operation::{Action, Operation, Step};
use crate::oracle::Block;
use crate::place::Place;
use crate::size::Size;
use unikernel::memory::kind::Kind;
use unikernel::memory::page_table::{Kva, Mmio, Tracked};

/// Does something with the type of the kind with this value.
macro_rules! of_kind {
    ($kind:expr, $type:ident => $body:expr) => {
        match $kind {
            Kind::Tracked => {
                type $type = Tracked;
                $body
            }
            Kind::Mmio => {
                type $type = Mmio;
                $body
            }
            Kind::Kva => {
                type $type = Kva;
                $body
            }
        }
    };
}

/// Says which step it was that failed.
struct Trace<'o> {
    step: u64,
    operation: &'o Operation,
}

impl Drop for Trace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in step {}: {:?}", self.step, self.operation);
        }
    }
}

impl World<'_> {
    /// Does an operation, and compares.
    ///
    /// # Panics
    /// If core and oracle disagree.
    pub fn step(&mut self, operation: &Operation) -> Outcome {
        let trace = Trace { step: self.steps, operation };
        let spare = operation.spare;
        let world = self;
        let outcome = match &operation.action {
            Action::Reserve { kind, len, align_bytes } => {
                of_kind!(kind, O => world.reserve::<O>(*len, *align_bytes))
            }
            Action::ReserveAt { kind, part } => of_kind!(kind, O => world.reserve_at::<O>(*part)),
            Action::GiveBack { kind, range } => of_kind!(kind, O => world.give_back::<O>(*range)),
            Action::Carve { kind, range, part } => of_kind!(kind, O => world.carve::<O>(*range, *part)),
            Action::Join { kind, range, other } => of_kind!(kind, O => world.join::<O>(*range, *other)),
            Action::Map { kind, range, at, supply, tables } => {
                of_kind!(kind, O => world.ensure_range::<O>());
                of_kind!(kind, O => world.map::<O>(*range, *at, supply, *tables, spare))
            }
            Action::Move(order) => {
                world.ensure_range::<Tracked>();
                if let Some(before) = order.before {
                    world.ensure_leaves::<Tracked>(order.range, before);
                }
                world.relocate(order, spare)
            }
            Action::Change { kind, range, change } => {
                of_kind!(kind, O => world.ensure_range::<O>());
                of_kind!(kind, O => world.ensure_leaves::<O>(*range, *change));
                of_kind!(kind, O => world.change::<O>(*range, *change, spare))
            }
            Action::Cursor { kind, range, steps } => {
                of_kind!(kind, O => world.ensure_range::<O>());
                for step in steps {
                    if let Step::Change(change, _) = step {
                        of_kind!(kind, O => world.ensure_leaves::<O>(*range, *change));
                    }
                }
                of_kind!(kind, O => world.cursor::<O>(*range, steps, spare))
            }
            Action::Flush { kind, which, release } => {
                of_kind!(kind, O => world.flush::<O>(*which, *release, spare))
            }
            Action::FlushPair { kinds: [first, second], which, second_first } => {
                of_kind!(first, A => of_kind!(second, B => {
                    world.flush_pair::<A, B>(*which, *second_first)
                }))
            }
            Action::Forget { kind, which } => of_kind!(kind, O => world.forget::<O>(*which)),
            Action::Query { kind, range, at } => of_kind!(kind, O => world.query::<O>(*range, *at)),
        };
        world.check();
        drop(trace);
        outcome
    }

    fn query<O: Modelled>(&mut self, index: u8, place: Place) -> Outcome {
        let Some(range) = self.pick::<O>(index) else { return Outcome::Skipped };
        let owned = Block::of(range.range());
        let at = place.resolve(owned, self.oracle.tree(O::KIND), Size::Small, Size::Small);
        self.compare_query::<O>(owned, at, range.query(at));
        self.put_back(range);
        Outcome::Done
    }
}
