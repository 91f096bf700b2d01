//! Frames as values: what is split, joined and listed is what goes back.

use super::test_machine::{TestArrays, TestCpu};
use super::*;
use crate::memory::address::PhysAddr;
use crate::memory::page_size::{Size1GiB, Size2MiB, Size4KiB};
use alloc::vec::Vec;

const FRAMES: usize = 4 * 512;

type SmallRun<'a> = FrameRun<Size4KiB, TestCpu<'a>>;

fn run_of(cpu: TestCpu<'_>, first: u64, count: u64) -> SmallRun<'_> {
    cpu.frames.claim(first, count);
    // SAFETY: the line above took these frames from the allocator.
    unsafe { FrameRun::from_raw(cpu, PhysAddr::of_frame(first), count) }
}

#[test]
fn a_frame_splits_and_merges() {
    let arrays = TestArrays::new(FRAMES, 1);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    let frame = Frame::<Size2MiB, _>::allocate(cpu).unwrap();
    let start = frame.start();
    let run = frame.split();
    assert_eq!((run.start(), run.count(), run.len_bytes()), (start, 512, 2 << 20));
    let (low, high) = run.split_at(200).unwrap();
    assert_eq!(high.start(), PhysAddr::new(start.as_u64() + 200 * 4096));
    let low = low.merge::<Size2MiB>().unwrap_err();
    let (high, low) = high.join(low).unwrap_err();
    let run = low.join(high).unwrap();
    let run = run.split_at(0).unwrap_err();
    let run = run.split_at(512).unwrap_err();
    let frame = run.merge::<Size2MiB>().unwrap();
    assert_eq!(frame.start(), start);
    drop(frame);
    assert_eq!(frames.statistics().free, FRAMES as u64 - 1);
}

#[test]
fn a_run_that_is_not_aligned_does_not_merge() {
    let arrays = TestArrays::new(FRAMES, 1);
    let frames = arrays.allocator();
    let run = FrameRun::<Size4KiB, _>::allocate(frames.on_cpu(0), 513).unwrap();
    let (first, rest) = run.split_first();
    let rest = rest.unwrap();
    assert_eq!(rest.count(), 512);
    assert!(rest.merge::<Size2MiB>().is_err());
    let (only, rest) = FrameRun::from(first).split_first();
    assert!(rest.is_none());
    drop(only);
}

#[test]
fn runs_of_two_allocators_stay_apart() {
    let arrays = [TestArrays::new(FRAMES, 1), TestArrays::new(FRAMES, 1)];
    let [one, other] = [arrays[0].allocator(), arrays[1].allocator()];
    let (low, high) = (run_of(one.on_cpu(0), 10, 5), run_of(other.on_cpu(0), 15, 5));
    assert!(low.join(high).is_err());
    assert_eq!((one.statistics().free, other.statistics().free), (FRAMES as u64 - 1, FRAMES as u64 - 1));
}

#[test]
fn a_batch_gives_runs_in_order_and_in_pieces() {
    let arrays = TestArrays::new(FRAMES, 1);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    let mut batch = FrameBatch::new(cpu);
    assert!(batch.pop_run(9).is_none());
    for (first, count) in [(700, 10), (5, 1), (6, 3), (400, 2)] {
        batch.push(run_of(cpu, first, count)).unwrap();
    }
    assert_eq!(batch.count(), 16);
    let mut pop = |most| {
        let run: SmallRun<'_> = batch.pop_run(most)?;
        Some((run.start().frame_number(), run.count()))
    };
    assert_eq!(pop(0), None);
    assert_eq!(pop(4), Some((700, 4)));
    assert_eq!(pop(100), Some((704, 6)));
    assert_eq!(pop(u64::MAX), Some((5, 4)), "adjacent runs were joined");
    assert_eq!(pop(1), Some((400, 1)));
    batch.push(run_of(cpu, 900, 1)).unwrap();
    assert_eq!(batch.count(), 2);
    let rest: Vec<_> =
        core::iter::from_fn(|| batch.pop_run(8)).map(|run| run.start().frame_number()).collect();
    assert_eq!(rest, [401, 900], "a push after a piece of the last run was taken");
    batch.push(run_of(cpu, 30, 7)).unwrap();
    drop(batch);
    assert_eq!(frames.statistics().free, FRAMES as u64 - 1);
}

#[test]
fn a_batch_of_large_frames_joins_neighbours() {
    let arrays = TestArrays::new(FRAMES, 1);
    let frames = arrays.allocator();
    let mut batch = FrameBatch::<Size2MiB, _>::allocate(frames.on_cpu(0), 3).unwrap();
    let run = batch.pop_run(2).unwrap();
    assert_eq!((run.start(), run.count()), (PhysAddr::new(2 << 20), 2));
    assert_eq!(batch.pop_run(2).unwrap().start(), PhysAddr::new(6 << 20));
    drop((batch, run));
    frames.pool.drain(0);
    frames.assert_consistent();
}

#[test]
fn a_batch_takes_whole_areas_first() {
    let arrays = TestArrays::new(FRAMES, 1);
    let frames = arrays.allocator();
    let mut batch = FrameBatch::<Size4KiB, _>::allocate(frames.on_cpu(0), 1100).unwrap();
    let first = batch.pop_run(u64::MAX).unwrap();
    assert!(first.count() >= 1024 && first.start().is_aligned(2 << 20), "{first:?}");
}

#[test]
fn a_batch_refuses_a_foreign_run() {
    let arrays = [TestArrays::new(FRAMES, 1), TestArrays::new(FRAMES, 1)];
    let [one, other] = [arrays[0].allocator(), arrays[1].allocator()];
    let mut batch = FrameBatch::new(one.on_cpu(0));
    let run = batch.push(run_of(other.on_cpu(0), 1, 1)).unwrap_err();
    assert_eq!((batch.count(), run.count()), (0, 1));
}

#[test]
#[cfg_attr(miri, ignore = "the arrays of 3 GiB take minutes")]
fn frames_of_1_gib() {
    let arrays = TestArrays::new(3 << 18, 1);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    let small = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
    let before = frames.statistics().free;
    let run = FrameRun::<Size1GiB, _>::allocate(cpu, 2).unwrap();
    assert_eq!((run.start(), run.len_bytes()), (PhysAddr::new(1 << 30), 2 << 30));
    assert!(Frame::<Size1GiB, _>::allocate(cpu).is_err(), "frame 0 spoils the first");
    let (first, rest) = run.split_first();
    let mut parts = first.split();
    assert_eq!((parts.start(), parts.count()), (PhysAddr::new(1 << 30), 512));
    let large;
    (large, parts) = parts.split_at(1).unwrap();
    let whole = large.join(parts).unwrap().merge::<Size1GiB>().unwrap();
    drop((whole, rest));
    assert_eq!(frames.statistics().free, before);
    let batch = FrameBatch::<Size1GiB, _>::allocate(cpu, 2).unwrap();
    assert!(FrameBatch::<Size1GiB, _>::allocate(cpu, 1).is_err());
    drop((batch, small));
    assert_eq!(frames.statistics().free, (3 << 18) - 1);
    frames.pool.drain(0);
    frames.assert_consistent();
}
