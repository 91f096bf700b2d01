//! The source whose pages come on demand, against a list of ranges, in a machine where others want frames, too.
//!
//! | file | about |
//! |---|---|
//! | `operation` | what can be done, from bytes |
//! | `ground` | the simulated machine |
//! | `held` | others that want frames |
//! | `owned` | the list |
//! | `steps` | one operation on both |
//! | `parts` | parts of ranges that go back and come again |
//! | `check` | whether both agree |

mod check;
mod ground;
mod held;
mod operation;
mod owned;
mod parts;
mod steps;

use ground::{Ground, with_ground};
use held::Held;
pub(super) use operation::{RangeMachine, RangeOperation};
use owned::Ranges;

/// Both, and what others hold.
struct World<'a, 'p> {
    ground: Ground<'a, 'p>,
    ranges: Ranges,
    held: Vec<Held<'a>>,
    at_first: check::Ledger,
    steps: u64,
}

/// Does the operations in a new machine, and gives everything back.
pub(super) fn run(machine: RangeMachine, operations: &[RangeOperation]) {
    with_ground(machine, |ground| {
        let at_first = check::Ledger::of(&ground);
        let mut world = World { ground, ranges: Ranges::default(), held: Vec::new(), at_first, steps: 0 };
        for operation in operations {
            world.step(*operation);
        }
        if machine.touch_all {
            world.touch_all();
        }
        world.finish();
    });
}

#[cfg(test)]
mod tests {
    use super::operation::Hold;
    use super::*;

    #[test]
    fn what_is_kept_goes_before_a_part_is_refused() {
        let take = RangeOperation::Take { granules: 1, align_bytes: 16384, high: false, zeroed: false };
        let machine = RangeMachine { pvm: false, frames: 609, blocks: 36, touch_all: false };
        let operations = [
            take,
            take,
            RangeOperation::Reserve { granules: 30 },
            RangeOperation::GiveBackPart { which: 0, at: 7_372_800, len_bytes: 475_136 },
            take,
            RangeOperation::Touch { which: 0, at: 0 },
            take,
            RangeOperation::GiveBack { which: 108 },
            RangeOperation::Hold(Hold::BatchBut(0)),
            RangeOperation::HandOutAgain { which: 0, at: 8_388_608, granules: 2 },
        ];
        run(machine, &operations);
    }
}
