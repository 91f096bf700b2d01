//! A sequence that has every step, in machines of every size, and with every number of frames that others leave: what is
//! refused changes nothing, and what is not has its frames.

use super::Pager;
use super::model_tests::{Range, Step, take_step};
use super::tests::{BLOCK, Source, check, with_source, with_source_if_it_boots};
use crate::memory::PAGE_LEN;
use crate::memory::address::VirtAddr;
use crate::memory::frame::{FrameBatch, FrameSource};
use crate::memory::heap::{GRANULE_LEN, RangeSource};
use crate::memory::page_size::Size4KiB;
use crate::memory::page_table::{LeafCounts, Paging, VirtRange};
use crate::memory::simulation::{PVM, RING_0, SimulatedCpu};
use alloc::vec::Vec;

type Cpu<'a> = SimulatedCpu<'a>;

/// Blocks of the region: addresses are never short.
const BLOCKS: usize = 16;
/// Frames that do for everything.
const PLENTY: usize = 4000;
const LARGE: usize = BLOCK / GRANULE_LEN;

const fn take(granules: usize, high: bool, zeroed: bool) -> Step {
    Step::Take { granules, align: GRANULE_LEN, high, zeroed }
}

/// A page of each granule brings the others; under Miri that has to do.
const TOUCHED_EVERY: usize = if cfg!(miri) { GRANULE_LEN } else { PAGE_LEN as usize };

/// Ranges that are refused are not there for the later steps, which then work on others.
const STEPS: [Step; 29] = [
    take(3, false, false),
    take(20, true, true),
    Step::Touch(0, 0),
    Step::Touch(1, 19 * GRANULE_LEN),
    Step::Resize(0, 9),
    take(LARGE + 3, false, false),
    Step::Touch(2, 5),
    Step::Touch(2, BLOCK),
    Step::Resize(1, 7),
    Step::Resize(1, 21),
    Step::GiveBackPart(2, BLOCK, 2),
    Step::Relocate(2, 40),
    take(1, true, false),
    Step::Touch(3, 0),
    Step::GiveBack(3),
    take(1, false, false),
    Step::Take { granules: 5, align: 2 * BLOCK, high: true, zeroed: true },
    Step::Touch(4, 4 * GRANULE_LEN),
    Step::Resize(2, 5),
    Step::Resize(2, LARGE),
    Step::GiveBack(1),
    Step::Trim,
    take(LARGE, true, true),
    Step::Touch(4, BLOCK - 1),
    Step::Relocate(4, LARGE),
    Step::GiveBackPart(4, 100, LARGE / 2),
    Step::Resize(3, 30),
    Step::GiveBack(2),
    take(60, true, false),
];

/// All that a refusal leaves as it was.
#[derive(Debug, PartialEq, Eq)]
struct State {
    credit: u64,
    mapped: LeafCounts,
    promised: u64,
    free: u64,
    handed_out_bytes: u64,
}

impl State {
    fn of(pager: &Pager<'_, Cpu<'_>>) -> Self {
        let statistics = pager.machine().frames().statistics();
        Self {
            credit: pager.credit_frames(),
            mapped: pager.mapped(),
            promised: statistics.promised,
            free: statistics.free,
            handed_out_bytes: pager.handed_out_bytes(),
        }
    }

    fn unpromised(&self) -> u64 {
        self.free - self.promised
    }
}

/// Takes the step; says whether it was refused, after a look at what that left.
fn is_refused(
    pager: &Pager<'_, Cpu<'_>>,
    source: &mut Source<'_>,
    ranges: &mut Vec<Range>,
    step: &Step,
) -> bool {
    let before = State::of(pager);
    let kept = source.free_bytes() > before.unpromised() * PAGE_LEN;
    let had = ranges.clone();
    take_step(pager, source, ranges, step.clone());
    let asks_for = match *step {
        Step::Take { .. } => true,
        Step::Resize(which, granules) => {
            had.get(which % had.len().max(1)).is_some_and(|(_, len)| granules * GRANULE_LEN > *len)
        }
        Step::Relocate(..) => !had.is_empty(),
        _ => false,
    };
    let refused = asks_for && *ranges == had;
    if refused {
        let after = State::of(pager);
        if kept && matches!(step, Step::Take { .. }) {
            // What was kept went back, and did not do.
            assert_eq!(source.free_bytes(), after.unpromised() * PAGE_LEN);
        } else {
            assert_eq!(after, before, "{step:?}");
        }
        for (start, len) in ranges {
            let range = VirtRange::new(VirtAddr::new(start.addr().get() as u64), *len as u64);
            assert!(pager.is_handed_out(range), "{range:?} after {step:?}");
        }
        check(pager);
    }
    refused
}

/// Touches every page while others have all frames that they can have, then gives all back.
fn touch_all(pager: &Pager<'_, Cpu<'_>>, source: &mut Source<'_>, ranges: Vec<Range>) {
    let others = FrameBatch::<Size4KiB, _>::allocate(pager.machine(), State::of(pager).unpromised()).unwrap();
    check(pager);
    for (start, len) in &ranges {
        for page in (0..*len).step_by(TOUCHED_EVERY) {
            let address = VirtAddr::new((start.addr().get() + page) as u64);
            assert!(pager.page_in(address).is_ok(), "page {page:#x} of {len:#x}");
        }
    }
    check(pager);
    drop(others);
    for (start, len) in ranges {
        // SAFETY: taken, with this length by now.
        unsafe { source.give_back(start, len) };
    }
}

/// Takes all steps in a machine of so many frames; says how many were refused, `None` if it does not boot.
fn refusals(paging: Paging, frames: usize) -> Option<usize> {
    let mut refused = 0;
    let boots = with_source_if_it_boots(paging, frames, BLOCKS, |pager, source| {
        let mut ranges = Vec::new();
        refused = STEPS.iter().filter(|step| is_refused(pager, source, &mut ranges, step)).count();
        touch_all(pager, source, ranges);
    });
    boots.then_some(refused)
}

#[test]
fn machines_of_every_size_refuse_what_they_have_no_frames_for() {
    if cfg!(miri) {
        // As many as it has time for.
        return [30, 620].into_iter().for_each(|frames| assert!(refusals(RING_0, frames) > Some(3)));
    }
    // The two hosts differ in the frame of the root alone.
    for (paging, step) in [(RING_0, 1), (PVM, 16)] {
        // There some have no addresses to grow or move to.
        let least = refusals(paging, PLENTY).unwrap();
        let sizes = (1..PLENTY).step_by(step).filter_map(|frames| refusals(paging, frames));
        let short: Vec<usize> = sizes.take_while(|refused| *refused != least).collect();
        let most = short.iter().max().copied().unwrap_or(0);
        assert!(short.len() * step > 2 * LARGE && most > 2 * least, "{least} of {short:?}");
    }
}

#[test]
fn others_may_take_all_but_a_few_frames_before_any_step() {
    let spare = (0..20).chain(511..514);
    let mut refused = 0;
    let all = (0..STEPS.len()).flat_map(|step| spare.clone().map(move |spare| (step, spare)));
    for (hungry, spare) in all.step_by(if cfg!(miri) { 500 } else { 1 }) {
        with_source(RING_0, if cfg!(miri) { 700 } else { 1800 }, BLOCKS, |pager, source| {
            let (mut ranges, mut others) = (Vec::new(), None);
            for (number, step) in STEPS.iter().enumerate() {
                if number == hungry {
                    let most = State::of(pager).unpromised().saturating_sub(spare);
                    others = FrameBatch::<Size4KiB, _>::allocate(pager.machine(), most).ok();
                    assert!(others.is_some(), "{most} frames are nobody's");
                }
                refused += usize::from(is_refused(pager, source, &mut ranges, step));
                // From time to time others give all back, from time to time they never do.
                if number == hungry && spare % 2 == 0 {
                    others = None;
                }
            }
            touch_all(pager, source, ranges);
            drop(others);
        });
    }
    assert!(refused > 0);
}
