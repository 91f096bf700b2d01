//! Every operation of a sequence that has them all, with each number of free frames from none up to enough: what is refused
//! for lack of frames changes nothing, and what takes something away, or brings its own, is never refused.

use memory_model::{
    Action, Change, Fit, Form, Length, Machine, Move, Operation, Outcome, Part, Place, Release, Size, Step,
    Supply, World,
};
use unikernel::memory::kind::Kind;
use unikernel::memory::page_table::Error;

const START: Place = Place::Behind(Size::Small, 0);

/// Two neighbours per kind, on both sides of a boundary of root slots: by the boundary, and from 4 MiB and 7 pages above it on.
const LONGER: u8 = 0;
const SHORTER: u8 = 1;

fn map(kind: Kind, range: u8, at: Place, size: Size, count: u64, form: Form) -> Action {
    let supply = Supply { size, count, form, memory: 0, rights: 0, exact: true };
    Action::Map { kind, range, at, supply, tables: None }
}

fn part(at: Place, bytes: u64) -> Part {
    Part { at, len: Length::Bytes(bytes) }
}

/// All that can be done to ranges of a kind.
fn sequence(kind: Kind) -> Vec<Action> {
    use Change::{Detach, DetachLeafTables, Promote, Protect, Split, Trim, Unmap};
    let leaf = Place::Leaf(0);
    let boundary = |pages| Place::Boundary(Size::Huge, pages);
    let flush = |release| Action::Flush { kind, which: 0, release };
    let change = |range, change| Action::Change { kind, range, change };
    let mut actions = vec![
        // Tables of all levels on both sides of the boundary of two root slots.
        map(kind, SHORTER, boundary(-2), Size::Small, 4, Form::Batch(1)),
        map(kind, SHORTER, Place::Before(Size::Small, 3), Size::Small, 3, Form::Run),
        map(kind, LONGER, START, Size::Small, 3, Form::Run),
        map(kind, LONGER, Place::Behind(Size::Large, 1), Size::Large, 1, Form::Single),
        map(kind, LONGER, Place::Behind(Size::Large, 2), Size::Large, 1, Form::Run),
        map(kind, LONGER, Place::Boundary(Size::Large, 2), Size::Small, 1, Form::Single),
        Action::Cursor {
            kind,
            range: LONGER,
            steps: vec![Step::Change(Split(Size::Large, Place::Behind(Size::Large, 1)), Part::WHOLE)],
        },
        flush(Release::Shootdown),
        change(LONGER, Promote(Size::Large, leaf)),
        flush(Release::Inactive),
        change(LONGER, Split(Size::Large, Place::Behind(Size::Large, 1))),
        flush(Release::Shootdown),
        change(LONGER, Protect(1)),
        flush(Release::Shootdown),
        Action::Cursor {
            kind,
            range: LONGER,
            steps: vec![
                Step::Change(Unmap, part(leaf, 4096)),
                Step::Change(Detach, part(Place::Behind(Size::Large, 1), 2 << 20)),
                Step::Map(
                    Place::Behind(Size::Large, 5),
                    Supply {
                        size: Size::Small,
                        count: 2,
                        form: Form::Run,
                        memory: 0,
                        rights: 0,
                        exact: true,
                    },
                ),
            ],
        },
        flush(Release::Take(Size::Small, Place::Leaf(0))),
        map(kind, LONGER, Place::Behind(Size::Large, 7), Size::Small, 1, Form::Taken),
        // A leaf that was left between two that were taken out is not to be had.
        Action::Cursor {
            kind,
            range: LONGER,
            steps: vec![
                Step::Change(Unmap, part(leaf, 4096)),
                Step::Change(Unmap, part(Place::Leaf(1), 4096)),
            ],
        },
        flush(Release::Take(Size::Small, Place::Leaf(3))),
        brought(map(kind, SHORTER, boundary(8), Size::Small, 2, Form::Run)),
        change(SHORTER, DetachLeafTables),
        flush(Release::Shootdown),
        brought(map(kind, SHORTER, boundary(8), Size::Small, 2, Form::Run)),
        change(SHORTER, Detach),
        change(LONGER, Unmap),
        Action::FlushPair { kinds: [kind, kind], which: [0, 0], second_first: true },
        change(LONGER, Trim),
        change(LONGER, Trim),
        flush(Release::Shootdown),
        flush(Release::Shootdown),
        Action::Join { kind, range: LONGER, other: LONGER },
        Action::Carve { kind, range: LONGER, part: part(Place::Behind(Size::Small, 9), 3 << 20) },
        Action::GiveBack { kind, range: LONGER },
    ];
    if kind == Kind::Tracked {
        // First of all, while something is mapped on both sides of the boundary.
        actions.insert(MAPPED, move_across());
    }
    actions
}

/// So many actions map something, before others take it out.
const MAPPED: usize = 6;

/// A mapping with more frames for tables than it can need.
fn brought(action: Action) -> Action {
    match action {
        Action::Map { kind, range, at, supply, .. } => {
            Action::Map { kind, range, at, supply, tables: Some(7) }
        }
        other => other,
    }
}

/// What is mapped around the boundary goes into the longer range.
fn move_across() -> Action {
    Action::Move(Move {
        range: SHORTER,
        part: part(Place::Boundary(Size::Huge, -2), 4 << 12),
        before: None,
        change: Change::DetachLeafTables,
        target: LONGER,
        at: Place::Behind(Size::Large, 3),
        tables: 7,
        fit: Fit::Fits,
    })
}

#[test]
#[cfg_attr(miri, ignore = "takes many minutes; random sequences run short of frames too")]
fn with_too_few_frames_nothing_changes_and_nothing_is_lost() {
    for pvm in [false, true] {
        for kind in Kind::ALL {
            World::with(Machine { pvm, huge_frames: false }, |mut world| {
                let (mut refused, mut most) = (0, 0);
                for action in sequence(kind) {
                    let mut spare = 0;
                    loop {
                        let operation = Operation { action: action.clone(), spare: Some(spare) };
                        match world.step(&operation) {
                            Outcome::Done => break,
                            Outcome::Refused(Error::OutOfFrames { .. }) => refused += 1,
                            other => panic!("{kind} with {spare} frames, {operation:?}: {other:?}"),
                        }
                        spare += 1;
                        if matches!(action, Action::Cursor { .. }) {
                            // A cursor keeps its range when a step of it is refused.
                            let release = Release::Shootdown;
                            world.step(&Operation {
                                action: Action::Flush { kind, which: 0, release },
                                spare: None,
                            });
                        }
                    }
                    let wants_none = matches!(
                        action,
                        Action::Change {
                            change: Change::Unmap | Change::Detach | Change::DetachLeafTables | Change::Trim,
                            ..
                        } | Action::Flush { .. }
                            | Action::FlushPair { .. }
                    );
                    assert!(!wants_none || spare == 0, "{action:?} wanted {spare} frames");
                    most = most.max(spare);
                }
                assert!(most >= 6 && refused >= 12, "at most {most} frames, refused {refused} times");
                world.finish();
            });
        }
    }
}
