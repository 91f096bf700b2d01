//! Random requests against a set of frame numbers.

use super::test_machine::{TestArrays, TestCpu};
use super::*;
use crate::memory::page_size::{PageSize, Size2MiB, Size4KiB};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use proptest::prelude::*;

const CASES: u32 = if cfg!(miri) { 1 } else { 300 };
const STEPS: usize = if cfg!(miri) { 8 } else { 120 };

/// Frames of the test machine; the last area is cut, and a hole of 600 frames begins at 1000.
const FRAMES: u64 = 7 * 512 + 100;
const HOLE: core::ops::Range<u64> = 1000..1600;

#[derive(Clone, Debug)]
enum Step {
    Small,
    Large,
    Run(u64),
    Batch(u64),
    LargeBatch(u64),
    Reserve(u64),
    Drop(usize),
    Split(usize, u64),
    Join(usize, usize),
    Refill(usize, u64),
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let count = || prop_oneof![1..8_u64, 1..70_u64, 1..1200_u64];
    let step = prop_oneof![
        6 => Just(Step::Small),
        2 => Just(Step::Large),
        3 => count().prop_map(Step::Run),
        3 => count().prop_map(Step::Batch),
        1 => (0..3_u64).prop_map(Step::LargeBatch),
        2 => count().prop_map(Step::Reserve),
        8 => any::<usize>().prop_map(Step::Drop),
        3 => (any::<usize>(), count()).prop_map(|(index, count)| Step::Split(index, count)),
        2 => (any::<usize>(), any::<usize>()).prop_map(|(one, other)| Step::Join(one, other)),
        4 => (any::<usize>(), count()).prop_map(|(index, count)| Step::Refill(index, count)),
    ];
    proptest::collection::vec((0..2_usize, step), 1..STEPS)
}

/// Something that a test holds.
enum Held<'a> {
    Small(Frame<Size4KiB, TestCpu<'a>>),
    Large(Frame<Size2MiB, TestCpu<'a>>),
    Run(FrameRun<Size4KiB, TestCpu<'a>>),
    Batch(FrameBatch<Size4KiB, TestCpu<'a>>),
    Credit(FrameCredit<TestCpu<'a>>),
}

struct Model<'a> {
    frames: &'a FrameAllocator<'a>,
    taken: BTreeSet<u64>,
    held: Vec<Held<'a>>,
}

impl<'a> Model<'a> {
    fn take(&mut self, first: u64, count: u64) {
        for frame in first..first + count {
            assert!(frame != 0 && frame < FRAMES && !HOLE.contains(&frame), "{frame} is no RAM to hand out");
            assert!(self.taken.insert(frame), "{frame} was handed out twice");
        }
        assert!(self.frames.is_allocated(first) && self.frames.is_allocated(first + count - 1));
    }

    fn give_back(&mut self, first: u64, count: u64) {
        assert!((first..first + count).all(|frame| self.taken.remove(&frame)));
    }

    /// A request for frames anywhere may fail only if there are fewer outside of the other CPU's cache and all credits.
    fn may_fail(&self, cpu: TestCpu<'_>, error: &OutOfFrames) {
        let other = &self.frames.pool.cpus[1 - cpu.cpu];
        let unreachable = other.small().len() as u64 + other.areas().len() as u64 * Size2MiB::FRAMES;
        let reachable = error.free_frames - unreachable - error.promised_frames;
        assert!(reachable < error.count, "{error:?}, {unreachable} with the other CPU");
    }

    fn hold(&mut self, held: Held<'a>) {
        match &held {
            Held::Small(frame) => self.take(frame.start().frame_number(), 1),
            Held::Large(frame) => self.take(frame.start().frame_number(), 512),
            Held::Run(run) => self.take(run.start().frame_number(), run.count()),
            Held::Batch(_) | Held::Credit(_) => {}
        }
        self.held.push(held);
    }

    /// Notes the frames of a batch by taking it apart and putting it together again.
    fn hold_batch<S: PageSize>(
        &mut self,
        mut batch: FrameBatch<S, TestCpu<'a>>,
        most: u64,
    ) -> FrameBatch<S, TestCpu<'a>> {
        let mut again = FrameBatch::new(batch.machine());
        let count = batch.count();
        while let Some(run) = batch.pop_run(most) {
            self.take(run.start().frame_number(), run.count() * S::FRAMES);
            again.push(run).unwrap();
        }
        assert_eq!((batch.count(), again.count()), (0, count));
        again
    }

    /// Takes up to `most` frames of a credit, none of which it may refuse.
    fn take_promised(&mut self, credit: &mut FrameCredit<TestCpu<'a>>, most: u64) {
        let left = credit.frames().saturating_sub(most);
        while credit.frames() > left {
            let large = if credit.frames() - left >= Size2MiB::FRAMES { credit.take_large() } else { None };
            let held = match large {
                Some(frame) => Held::Large(frame),
                None => Held::Small(credit.take().expect("a promised frame")),
            };
            self.hold(held);
        }
    }

    fn discard(&mut self, held: Held<'a>) {
        match held {
            Held::Small(frame) => self.give_back(frame.start().frame_number(), 1),
            Held::Large(frame) => self.give_back(frame.start().frame_number(), 512),
            Held::Run(run) => self.give_back(run.start().frame_number(), run.count()),
            Held::Credit(credit) => drop(credit),
            Held::Batch(mut batch) => {
                while let Some(run) = batch.pop_run(100) {
                    self.give_back(run.start().frame_number(), run.count());
                }
            }
        }
    }

    fn pick(&mut self, index: usize) -> Option<Held<'a>> {
        let len = self.held.len();
        (len > 0).then(|| self.held.swap_remove(index % len))
    }

    fn step(&mut self, cpu: TestCpu<'a>, step: &Step) {
        match *step {
            Step::Small => match Frame::allocate(cpu) {
                Ok(frame) => self.hold(Held::Small(frame)),
                Err(error) => self.may_fail(cpu, &error),
            },
            Step::Large => {
                if let Ok(frame) = Frame::allocate(cpu) {
                    self.hold(Held::Large(frame));
                }
            }
            Step::Run(count) => {
                if let Ok(run) = FrameRun::allocate(cpu, count) {
                    assert_eq!(run.count(), count);
                    self.hold(Held::Run(run));
                }
            }
            Step::Batch(count) => match FrameBatch::allocate(cpu, count) {
                Ok(batch) => {
                    assert_eq!(batch.count(), count);
                    let batch = self.hold_batch(batch, count / 2 + 1);
                    self.held.push(Held::Batch(batch));
                }
                Err(error) => self.may_fail(cpu, &error),
            },
            Step::LargeBatch(count) => {
                if let Ok(batch) = FrameBatch::<Size2MiB, _>::allocate(cpu, count) {
                    let mut batch = self.hold_batch(batch, 1);
                    while let Some(run) = batch.pop_run(1) {
                        self.held.push(Held::Large(run.split_first().0));
                    }
                }
            }
            Step::Reserve(count) => match FrameCredit::reserve(cpu, count) {
                Ok(credit) => self.hold(Held::Credit(credit)),
                Err(error) => self.may_fail(cpu, &error),
            },
            Step::Drop(index) => {
                if let Some(held) = self.pick(index) {
                    self.discard(held);
                }
            }
            Step::Split(index, count) => match self.pick(index) {
                Some(Held::Large(frame)) => self.held.push(Held::Run(frame.split())),
                Some(Held::Run(run)) => match run.split_at(count) {
                    Ok((low, high)) => self.held.extend([Held::Run(low), Held::Run(high)]),
                    Err(run) => self.held.push(Held::Run(run)),
                },
                Some(Held::Credit(mut credit)) => {
                    self.held.extend(credit.split(count).map(Held::Credit));
                    self.held.push(Held::Credit(credit));
                }
                Some(held) => self.held.push(held),
                None => (),
            },
            Step::Join(one, other) => match (self.pick(one), self.pick(other)) {
                (Some(Held::Run(low)), Some(Held::Run(high))) => match low.join(high) {
                    Ok(run) => match run.merge::<Size2MiB>() {
                        Ok(frame) => self.held.push(Held::Large(frame)),
                        Err(run) => self.held.push(Held::Run(run)),
                    },
                    Err((low, high)) => self.held.extend([Held::Run(low), Held::Run(high)]),
                },
                (Some(Held::Credit(mut credit)), Some(Held::Credit(other))) => {
                    credit.join(other).unwrap();
                    self.held.push(Held::Credit(credit));
                }
                (one, other) => self.held.extend(one.into_iter().chain(other)),
            },
            Step::Refill(index, count) => match self.pick(index) {
                Some(Held::Batch(mut batch)) => {
                    if let Ok(run) = FrameRun::allocate(cpu, count) {
                        self.take(run.start().frame_number(), count);
                        batch.push(run).unwrap();
                    }
                    if let Some(run) = batch.pop_run(count) {
                        self.held.push(Held::Run(run));
                    }
                    self.held.push(Held::Batch(batch));
                }
                Some(Held::Credit(mut credit)) => {
                    self.take_promised(&mut credit, count);
                    self.held.push(Held::Credit(credit));
                }
                held => self.held.extend(held),
            },
        }
        let statistics = self.frames.statistics();
        assert_eq!(statistics.free + self.taken.len() as u64, statistics.total);
        let promised = |held: &Held<'_>| if let Held::Credit(credit) = held { credit.frames() } else { 0 };
        assert_eq!(statistics.promised, self.held.iter().map(promised).sum());
        assert_eq!(self.frames.unpromised() + statistics.promised, statistics.free - statistics.cached);
    }
}

proptest! {
    // Miri has no files for the failures of earlier runs.
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_are_held_once_and_all_come_back(steps in steps()) {
        let arrays = TestArrays::new(FRAMES as usize, 2);
        // SAFETY: the arrays are this test's alone.
        let frames = unsafe { FrameAllocator::new(arrays.arrays()) }.unwrap();
        for range in [0..HOLE.start, HOLE.end..FRAMES] {
            // SAFETY: the memory of these frames does not exist.
            unsafe { frames.add(range.start, range.end - range.start) }.unwrap();
        }
        let before = frames.statistics();
        let mut model = Model { frames: &frames, taken: BTreeSet::new(), held: Vec::new() };
        for (cpu, step) in &steps {
            model.step(frames.on_cpu(*cpu), step);
        }
        while let Some(held) = model.pick(0) {
            model.discard(held);
        }
        frames.pool.drain(0);
        frames.pool.drain(1);
        prop_assert_eq!(frames.statistics(), before);
        frames.assert_consistent();
    }
}
