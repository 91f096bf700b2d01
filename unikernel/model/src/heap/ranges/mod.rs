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
