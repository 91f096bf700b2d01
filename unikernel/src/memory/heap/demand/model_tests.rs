//! Random steps on the source of ranges, against a plain model.

use super::Pager;
use super::pager::NotPaged;
use super::tests::{BLOCK, KIB, Source, address, check, layout, with_source};
use crate::memory::address::VirtAddr;
use crate::memory::frame::FrameSource;
use crate::memory::heap::{End, GRANULE_LEN, RangeSource};
use crate::memory::page_table::VirtRange;
use crate::memory::simulation::{RING_0, SimulatedCpu};
use alloc::vec::Vec;
use core::ptr::NonNull;
use proptest::prelude::*;

/// One step of a random test.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Take { granules: usize, align: usize, high: bool, zeroed: bool },
    GiveBack(usize),
    Resize(usize, usize),
    Relocate(usize, usize),
    GiveBackPart(usize, usize, usize),
    Touch(usize, usize),
    Trim,
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..20_usize, 2 => 100..300_usize, 1 => 300..700_usize]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let align = prop_oneof![4 => Just(GRANULE_LEN), 1 => Just(64 * KIB), 1 => Just(2 * BLOCK)];
    let step = prop_oneof![
        4 => (lengths(), align, any::<bool>(), any::<bool>())
            .prop_map(|(granules, align, high, zeroed)| Step::Take { granules, align, high, zeroed }),
        3 => any::<usize>().prop_map(Step::GiveBack),
        2 => (any::<usize>(), lengths()).prop_map(|(which, granules)| Step::Resize(which, granules)),
        2 => (any::<usize>(), lengths()).prop_map(|(which, more)| Step::Relocate(which, more)),
        2 => (any::<usize>(), any::<usize>(), lengths())
            .prop_map(|(which, at, granules)| Step::GiveBackPart(which, at, granules)),
        8 => (any::<usize>(), any::<usize>()).prop_map(|(which, at)| Step::Touch(which, at)),
        1 => Just(Step::Trim),
    ];
    proptest::collection::vec(step, 1..if cfg!(miri) { 12 } else { 120 })
}

/// What the model knows of a range: its start, and its length.
pub(super) type Range = (NonNull<u8>, usize);

pub(super) fn take_step(
    pager: &Pager<'_, SimulatedCpu<'_>>,
    source: &mut Source<'_>,
    ranges: &mut Vec<Range>,
    step: Step,
) {
    let pick = |which: usize, ranges: &[Range]| (!ranges.is_empty()).then(|| which % ranges.len());
    match step {
        Step::Take { granules, align, high, zeroed } => {
            let layout = layout(granules * GRANULE_LEN, align);
            let end = if high { End::High } else { End::Low };
            let unpromised = pager.machine().frames().unpromised();
            let taken = if zeroed { source.take_zeroed(layout, end) } else { source.take(layout, end) };
            match taken {
                Some(start) => {
                    let span = start.addr().get()..start.addr().get() + layout.size();
                    assert!(span.start.is_multiple_of(align));
                    let overlaps = |(other, len): &Range| {
                        other.addr().get() < span.end && span.start < other.addr().get() + len
                    };
                    assert!(!ranges.iter().any(overlaps), "{span:x?}");
                    let range = VirtRange::new(VirtAddr::new(span.start as u64), layout.size() as u64);
                    assert!(pager.is_handed_out(range));
                    ranges.push((start, layout.size()));
                }
                // A page each, and a table for each block; the rest is for addresses that no aligned range fits into.
                None => assert!(
                    unpromised < granules as u64 * 4 + 8 || align > BLOCK || granules > 128,
                    "{granules} granules were refused with {unpromised} frames"
                ),
            }
        }
        Step::GiveBack(which) => {
            if let Some(index) = pick(which, ranges) {
                let (start, len) = ranges.swap_remove(index);
                // SAFETY: taken, with this length by now.
                unsafe { source.give_back(start, len) };
            }
        }
        Step::Resize(which, granules) => {
            if let Some(index) = pick(which, ranges) {
                let (start, len) = ranges[index];
                let new_len = granules * GRANULE_LEN;
                // SAFETY: taken, with this length by now.
                let done = unsafe {
                    match new_len.cmp(&len) {
                        core::cmp::Ordering::Greater => source.grow(start, len, new_len),
                        core::cmp::Ordering::Less => {
                            source.shrink(start, len, new_len);
                            true
                        }
                        core::cmp::Ordering::Equal => true,
                    }
                };
                if done {
                    ranges[index].1 = new_len;
                }
            }
        }
        Step::Relocate(which, more) => {
            if let Some(index) = pick(which, ranges) {
                let (start, len) = ranges[index];
                let (mapped, new) = (pager.mapped(), layout(len + more * GRANULE_LEN, GRANULE_LEN));
                // SAFETY: taken, with this length by now.
                if let Some(moved) = unsafe { source.relocate(start, len, new) } {
                    ranges[index] = (moved, new.size());
                }
                // What was kept may have gone.
                assert!(pager.mapped().small <= mapped.small && pager.mapped().large <= mapped.large);
            }
        }
        // And has them again, or loses the whole range.
        Step::GiveBackPart(which, at, granules) => {
            if let Some(index) = pick(which, ranges) {
                let (start, len) = ranges[index];
                let first = start.addr().get() + at % len;
                let end = (first + granules * GRANULE_LEN).min(start.addr().get() + len);
                // SAFETY: the range is taken, and used by nobody.
                unsafe {
                    let gone = source.give_back_part(first..end);
                    check(pager);
                    if !gone.is_empty() {
                        let refused = pager.page_in(VirtAddr::new(gone.start as u64));
                        assert_eq!(refused, Err(NotPaged::NotHandedOut));
                    }
                    if !source.hand_out_again(gone) {
                        source.give_back_pages(start);
                        ranges.swap_remove(index);
                    }
                }
            }
        }
        Step::Touch(which, at) => {
            if let Some(index) = pick(which, ranges) {
                let (start, len) = ranges[index];
                assert!(pager.page_in(address(start, at % len)).is_ok());
            }
        }
        Step::Trim => source.trim(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 150 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn credit_frames_and_tables_agree_whatever_comes(steps in steps(), small in any::<bool>()) {
        let frames = if small || cfg!(miri) { 700 } else { 6000 };
        with_source(RING_0, frames, 24, |pager, source| {
            let mut ranges = Vec::new();
            for step in steps {
                take_step(pager, source, &mut ranges, step);
                check(pager);
            }
            for (start, len) in ranges {
                // SAFETY: taken, with this length by now.
                unsafe { source.give_back(start, len) };
            }
        });
    }
}
