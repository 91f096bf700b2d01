//! A cursor remembers the table of the last single page. It must not when it has taken that table out.

use memory_model::{
    Action, Change, Form, Length, Machine, Operation, Outcome, Part, Place, Release, Size, Step, Supply,
    World,
};
use unikernel::memory::kind::Kind;
use unikernel::memory::page_table::Error;

/// The first multiple of 1 GiB in the longer range, all of whose tables of level 2 and below are the owner's.
const AT: Place = Place::Boundary(Size::Large, 0);
const PAGE: Part = Part { at: AT, len: Length::Bytes(4096) };

fn page(form: Form) -> Step {
    Step::Map(AT, Supply { size: Size::Small, count: 1, form, memory: 0, rights: 0, exact: true })
}

fn cursor(kind: Kind, steps: &[Step]) -> Operation {
    Operation { action: Action::Cursor { kind, range: 0, steps: steps.to_vec() }, spare: None }
}

#[test]
fn a_single_page_after_its_table_was_taken_out_is_neither_found_nor_mapped() {
    // Of the kinds, that whose leaves go at once shows most.
    let kinds: &[Kind] = if cfg!(miri) { &[Kind::Mmio] } else { &Kind::ALL };
    for kind in kinds.iter().copied() {
        for (before, take) in [(Change::Protect(0), Change::Detach), (Change::Unmap, Change::Trim)] {
            World::with(Machine { pvm: false, huge_frames: false }, |mut world| {
                assert_eq!(world.step(&cursor(kind, &[page(Form::Run)])), Outcome::Done);
                let release = Release::Shootdown;
                let flush = Operation { action: Action::Flush { kind, which: 0, release }, spare: None };
                world.step(&flush);
                let steps = [
                    Step::Change(before, PAGE),
                    Step::Change(Change::Unmap, Part { at: Place::Boundary(Size::Large, 1), ..PAGE }),
                    Step::Change(take, Part::WHOLE),
                    Step::Change(Change::Unmap, PAGE),
                    Step::Query(AT),
                    page(Form::Page),
                ];
                let outcome = world.step(&cursor(kind, &steps));
                let refused = matches!(outcome, Outcome::Refused(Error::AwaitingFlush { .. }));
                assert!(refused, "{kind}, {take:?}: {outcome:?}");
                world.step(&flush);
                assert_eq!(world.step(&cursor(kind, &[page(Form::Page)])), Outcome::Done);
                world.finish();
            });
        }
    }
}
