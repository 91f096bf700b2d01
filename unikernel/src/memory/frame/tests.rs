//! The allocator and its caches, one case at a time.

use super::area::AREA_FRAMES;
use super::test_machine::{TestArrays, TestCpu};
use super::*;
use crate::memory::address::PhysAddr;
use crate::memory::page_size::{Size1GiB, Size2MiB, Size4KiB};
use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;

type Small<'a> = Frame<Size4KiB, TestCpu<'a>>;
type Large<'a> = Frame<Size2MiB, TestCpu<'a>>;
type SmallRun<'a> = FrameRun<Size4KiB, TestCpu<'a>>;
type SmallBatch<'a> = FrameBatch<Size4KiB, TestCpu<'a>>;

const AREA: usize = AREA_FRAMES as usize;

/// All 4 KiB frames that a CPU can get.
fn take_all(cpu: TestCpu<'_>) -> Vec<Small<'_>> {
    core::iter::from_fn(|| Frame::allocate(cpu).ok()).collect()
}

#[test]
fn only_what_was_added_is_handed_out() {
    let arrays = TestArrays::new(2 * AREA + 100, 1);
    // SAFETY: the arrays are this test's alone.
    let frames = unsafe { FrameAllocator::new(arrays.arrays()) }.unwrap();
    let cpu = frames.on_cpu(0);
    assert!(Small::allocate(cpu).is_err());
    assert!(frames.is_hole(0, u64::MAX) && !frames.is_ram(0, 1));
    // SAFETY: these frames do not exist.
    unsafe { frames.add(0, 70) }.unwrap();
    // SAFETY: nobody else registers, and nothing is mapped.
    unsafe { frames.reserve(70, 30) }.unwrap();
    // SAFETY: as above.
    unsafe { frames.add(500, 600) }.unwrap();
    assert!(
        frames.is_ram(0, 100)
            && frames.is_hole(100, 400)
            && !frames.is_ram(499, 2)
            && !frames.is_hole(499, 2)
    );
    let all = take_all(cpu);
    let numbers: BTreeSet<u64> = all.iter().map(|frame| frame.start().frame_number()).collect();
    assert_eq!(numbers, (1..70).chain(500..1100).collect(), "frame 0, holes and what is reserved stay out");
    assert_eq!(all.len(), numbers.len(), "no frame twice");
    assert_eq!(frames.state(0), FrameState::Reserved);
    assert_eq!(frames.state(1), FrameState::Unmapped);
    drop(all);
    let statistics = frames.statistics();
    assert_eq!((statistics.total, statistics.free, statistics.double_frees), (669, 669, 0));
    assert!(cpu.frames.pool.drain(0));
    frames.assert_consistent();
}

#[test]
fn a_frame_is_registered_once() {
    let arrays = TestArrays::new(100, 1);
    // SAFETY: the arrays are this test's alone.
    let frames = unsafe { FrameAllocator::new(arrays.arrays()) }.unwrap();
    // SAFETY: nobody else registers, and nothing is mapped.
    unsafe { frames.reserve(50, 1) }.unwrap();
    // SAFETY: these frames do not exist.
    let result = unsafe { frames.add(40, 20) };
    assert_eq!(result, Err(RegisterError::Unexpected { frame: 50, state: FrameState::Reserved }));
    assert!(frames.is_hole(40, 10), "a refused registration changes nothing");
    for (first_frame, count) in [(90, 11), (100, 1), (u64::MAX, 2)] {
        let error = RegisterError::BeyondTheEnd { first_frame, count, frame_count: 100 };
        // SAFETY: it is refused.
        assert_eq!(unsafe { frames.reserve(first_frame, count) }, Err(error));
    }
    assert_eq!(frames.statistics().free, 0);
}

#[test]
fn arrays_that_do_not_fit_are_refused() {
    let arrays = TestArrays::new(1000, 1);
    let full = arrays.arrays();
    let needed = FrameArrayLengths::new(1000, 1);
    // SAFETY: it is refused.
    let refused = |arrays| unsafe { FrameAllocator::new(arrays) }.unwrap_err();
    assert_eq!(refused(FrameArrays { cpus: &[], ..full }), FrameArraysError::NoCpus);
    let short = FrameArrays { areas: &full.areas[1..], ..full };
    assert_eq!(refused(short), FrameArraysError::Lengths { needed, array: "areas", len: 1 });
    let short = FrameArrays { words: &full.words[1..], ..full };
    assert_eq!(refused(short), FrameArraysError::Lengths { needed, array: "words", len: 999 });
}

#[test]
fn what_fails_takes_nothing() {
    let arrays = TestArrays::new(4 * AREA, 2);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    let large = Large::allocate(cpu).unwrap();
    let before = frames.statistics();
    for count in [4 * AREA_FRAMES, u64::MAX, u64::MAX / 512 + 1] {
        assert_eq!(SmallBatch::allocate(cpu, count).unwrap_err().free_frames, before.free);
        assert_eq!(SmallRun::allocate(cpu, count).unwrap_err().count, count);
        assert!(FrameRun::<Size2MiB, _>::allocate(cpu, count).is_err());
        assert!(FrameRun::<Size1GiB, _>::allocate(cpu, count).is_err());
    }
    assert!(SmallBatch::allocate(cpu, before.free + 1).is_err());
    assert!(FrameBatch::<Size2MiB, _>::allocate(cpu, 3).is_err(), "frame 0 spoils one area, and one is held");
    for error in [
        SmallRun::allocate(cpu, 0).unwrap_err(),
        FrameRun::<Size2MiB, _>::allocate(cpu, 0).unwrap_err(),
        FrameRun::<Size1GiB, _>::allocate(cpu, 0).unwrap_err(),
    ] {
        assert!(error.to_string().contains("at least 1"), "{error}");
    }
    assert_eq!(frames.statistics().free, before.free);
    assert_eq!(SmallBatch::allocate(cpu, before.free).unwrap().count(), before.free);
    drop(large);
    assert_eq!(frames.statistics().free, 4 * AREA_FRAMES - 1);
}

#[test]
fn areas_claimed_before_one_that_is_lost_go_back() {
    let arrays = TestArrays::new(4 * AREA, 1);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    let bitmap = &frames.pool.bitmap;
    frames.claim(3 * AREA_FRAMES, 1);
    // What a search sees while another CPU breaks the area.
    bitmap.whole.set(3);
    assert!(FrameRun::<Size2MiB, _>::allocate(cpu, 3).is_err());
    assert_eq!(frames.statistics().whole_areas, 2);
    frames.assert_consistent();
    assert_eq!(FrameRun::<Size2MiB, _>::allocate(cpu, 2).unwrap().start(), PhysAddr::new(2 << 20));
}

#[test]
fn a_run_that_is_half_taken_goes_back() {
    let arrays = TestArrays::new(AREA, 1);
    let frames = arrays.allocator();
    let bitmap = &frames.pool.bitmap;
    frames.claim(300, 1);
    assert!(!bitmap.claim_exactly(100, 300));
    frames.assert_consistent();
    assert_eq!(frames.statistics().free, AREA_FRAMES - 2);
    assert!(bitmap.claim_exactly(100, 200));
}

#[test]
fn an_interrupted_cpu_allocates_and_frees() {
    let arrays = TestArrays::new(6 * AREA, 1);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    let warm = (Small::allocate(cpu).unwrap(), Large::allocate(cpu).unwrap());
    drop(warm);
    let before = frames.statistics();
    let inside = frames.pool.cpus[0].enter();
    let small = Small::allocate(cpu).unwrap();
    let large = Large::allocate(cpu).unwrap();
    let run = SmallRun::allocate(cpu, 600).unwrap();
    let batch = SmallBatch::allocate(cpu, 40).unwrap();
    assert!(SmallBatch::allocate(cpu, 4 * AREA_FRAMES).is_err());
    let held = 1 + AREA_FRAMES + 600 + 40;
    assert_eq!(frames.statistics(), FrameStatistics { free: before.free - held, whole_areas: 2, ..before });
    drop((small, large, run, batch));
    assert_eq!(frames.statistics(), before, "all of it went past the cache");
    drop(inside);
    drop(Small::allocate(cpu).unwrap());
    assert_eq!(frames.statistics(), before);
}

#[test]
fn the_own_cache_is_drained_before_anything_fails() {
    let arrays = TestArrays::new(3 * AREA, 2);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    let larges: Vec<_> = core::iter::from_fn(|| Large::allocate(cpu).ok()).collect();
    assert_eq!(larges.len(), 2);
    let all = take_all(cpu);
    drop(larges);
    assert_eq!(frames.statistics().cached, 2 * AREA_FRAMES);
    assert_eq!(take_all(cpu).len(), 2 * AREA, "2 MiB frames serve as 4 KiB frames");
    assert_eq!(Large::allocate(cpu).map(drop), Ok(()), "4 KiB frames join to 2 MiB frames");
    assert_eq!(SmallRun::allocate(cpu, 2 * AREA_FRAMES).map(drop), Ok(()));
    assert_eq!(all.len(), AREA - 1);
}

#[test]
fn the_cache_of_another_cpu_is_out_of_reach() {
    let arrays = TestArrays::new(2 * AREA, 2);
    let frames = arrays.allocator();
    drop(Large::allocate(frames.on_cpu(1)).unwrap());
    drop(Small::allocate(frames.on_cpu(1)).unwrap());
    let cached = frames.statistics().cached;
    assert!(cached > AREA_FRAMES && cached <= CACHED_MAX);
    let got = take_all(frames.on_cpu(0));
    assert_eq!(got.len() as u64, 2 * AREA_FRAMES - 1 - cached);
    let cached_frame = frames.cached_runs().next().unwrap().0;
    assert!(!frames.is_allocated(cached_frame) && frames.is_allocated(got[0].start().frame_number()));
    assert!(frames.pool.drain(1));
    assert!(Small::allocate(frames.on_cpu(0)).is_ok());
}

#[test]
fn what_is_freed_twice_is_counted_and_nothing_else() {
    let arrays = TestArrays::new(3 * AREA, 1);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    let before = frames.statistics().free;
    let free_again = |start: PhysAddr, count| {
        // SAFETY: this breaks the promise that memory is taken back once, to see that the allocator finds out. The
        // memory does not exist.
        drop(unsafe { SmallRun::from_raw(cpu, start, count) });
    };
    let frame = Small::allocate(cpu).unwrap();
    let start = frame.start();
    drop(frame);
    free_again(start, 1);
    assert_eq!(frames.statistics().double_frees, 1, "on top of the cache");
    frames.pool.drain(0);
    free_again(start, 1);
    assert_eq!(frames.statistics().double_frees, 2, "in the bitmap");

    let run = SmallRun::allocate(cpu, 100).unwrap();
    let start = run.start();
    drop(run);
    free_again(start, 100);
    assert_eq!(frames.statistics().double_frees, 102);
    free_again(PhysAddr::new(2 << 20), AREA_FRAMES);
    assert_eq!(frames.statistics().double_frees, 102 + AREA_FRAMES);
    for beyond in [3 * AREA_FRAMES, u64::MAX >> 12] {
        free_again(PhysAddr::of_frame(beyond), 1);
    }
    assert_eq!(frames.statistics().double_frees, 104 + AREA_FRAMES);

    let large = Large::allocate(cpu).unwrap();
    let start = large.start();
    let (first, rest) = large.split().split_first();
    drop(first);
    assert_eq!(rest.unwrap().into_raw(), PhysAddr::of_frame(start.frame_number() + 1));
    frames.pool.drain(0);
    free_again(start, AREA_FRAMES);
    assert_eq!(frames.statistics().double_frees, 105 + AREA_FRAMES, "the first of a 2 MiB frame");

    let pair = (Small::allocate(cpu).unwrap(), Small::allocate(cpu).unwrap());
    let start = pair.0.start();
    drop(pair);
    free_again(start, 1);
    frames.pool.drain(0);
    assert_eq!(
        frames.statistics().double_frees,
        106 + AREA_FRAMES,
        "deep in the cache, found when it is given back"
    );
    assert_eq!(frames.statistics().free, before);
    frames.assert_consistent();
}

#[test]
fn small_frames_leave_whole_areas_alone() {
    let arrays = TestArrays::new(8 * AREA, 2);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    let mut held = take_all(cpu);
    // One frame in three of each area but the last, which is free as a whole.
    held.retain(|frame| {
        let number = frame.start().frame_number();
        number < 7 * AREA_FRAMES && !number.is_multiple_of(3)
    });
    frames.pool.drain(0);
    assert_eq!(frames.statistics().whole_areas, 1);
    let free_in_part = frames.statistics().free - AREA_FRAMES;
    let batch = SmallBatch::allocate(frames.on_cpu(1), AREA_FRAMES - 1).unwrap();
    let singles: Vec<_> = (0..free_in_part / 4).map(|_| Small::allocate(cpu).unwrap()).collect();
    assert_eq!(frames.statistics().whole_areas, 1);
    drop((batch, singles));
}

#[test]
fn leaked_frames_are_noted() {
    let arrays = TestArrays::new(2 * AREA, 1);
    let frames = arrays.allocator();
    let first = Large::allocate(frames.on_cpu(0)).unwrap().leak().frame_number();
    assert!((first..first + AREA_FRAMES).all(|frame| frames.state(frame) == FrameState::Lost));
    assert!(frames.is_ram(0, 2 * AREA_FRAMES) && !frames.is_ram(0, 2 * AREA_FRAMES + 1));
    assert_eq!(frames.statistics().free, AREA_FRAMES - 1);
}

#[test]
fn frames_beyond_the_end_do_no_harm() {
    let arrays = TestArrays::new(10, 1);
    let frames = arrays.allocator();
    for frame in [10, u64::from(u32::MAX), u64::MAX] {
        frames.set_state(frame, FrameState::Root);
        frames.set_states(frame, u64::MAX, FrameState::Root);
        assert_eq!(frames.state(frame), FrameState::Hole);
        assert!(core::ptr::eq(frames.word(frame), frames.word(10)));
        assert!(core::ptr::eq(frames.mark(frame), frames.mark(10)));
    }
    assert!(!core::ptr::eq(frames.word(9), frames.word(10)));
}
