//! Promises of frames: kept whatever others ask for, and given back in full.

use super::area::AREA_FRAMES;
use super::test_machine::{TestArrays, TestCpu};
use super::*;
use crate::memory::page_size::{PageSize, Size1GiB, Size2MiB, Size4KiB};
use alloc::string::ToString;
use alloc::vec::Vec;

const AREA: usize = AREA_FRAMES as usize;

type Small<'a> = Frame<Size4KiB, TestCpu<'a>>;
type Credit<'a> = FrameCredit<TestCpu<'a>>;

/// Asks for frames without credit in every way there is.
fn assert_nothing_without_credit(cpu: TestCpu<'_>) {
    fn frames<S: PageSize>(cpu: TestCpu<'_>) {
        let promised = cpu.frames.promised();
        for error in [
            Frame::<S, _>::allocate(cpu).map(drop).unwrap_err(),
            FrameRun::<S, _>::allocate(cpu, 1).map(drop).unwrap_err(),
            FrameRun::<S, _>::allocate(cpu, 2).map(drop).unwrap_err(),
        ] {
            assert_eq!(error.promised_frames, promised);
        }
        assert!(FrameBatch::<S, _>::allocate(cpu, 1).is_err());
        assert!(FrameBatch::<S, _>::allocate(cpu, 2).is_err());
    }
    frames::<Size4KiB>(cpu);
    frames::<Size2MiB>(cpu);
    frames::<Size1GiB>(cpu);
    for count in [40, 512, 600] {
        assert!(FrameRun::<Size4KiB, _>::allocate(cpu, count).is_err(), "{count}");
        assert!(FrameBatch::<Size4KiB, _>::allocate(cpu, count).is_err(), "{count}");
    }
    assert!(Credit::reserve(cpu, 1).is_err());
}

#[test]
fn what_is_promised_is_had_by_nobody_else() {
    let areas = if cfg!(miri) { 3 } else { 520 };
    let arrays = TestArrays::new(areas * AREA, 2);
    let frames = arrays.allocator();
    let (cpu, other) = (frames.on_cpu(0), frames.on_cpu(1));
    let all = frames.unpromised();
    assert_eq!(all, frames.statistics().free);
    let mut credit = Credit::reserve(cpu, all).unwrap();
    assert_eq!((frames.unpromised(), frames.promised(), frames.statistics().promised), (0, all, all));
    assert_nothing_without_credit(cpu);
    assert_nothing_without_credit(other);
    assert_eq!(frames.statistics().free, all, "what fails takes nothing");
    frames.assert_consistent();
    let message = Small::allocate(cpu).unwrap_err().to_string();
    assert!(message.contains(&alloc::format!("{all} are promised")), "{message}");

    let larges: Vec<_> = core::iter::from_fn(|| credit.take_large()).collect();
    assert_eq!(larges.len(), areas - 1);
    assert_eq!(credit.frames(), AREA_FRAMES - 1);
    assert_nothing_without_credit(other);
    let smalls: Vec<_> = core::iter::from_fn(|| credit.take()).collect();
    assert_eq!(smalls.len() as u64, AREA_FRAMES - 1);
    assert_eq!((credit.frames(), frames.promised(), frames.unpromised()), (0, 0, 0));
    frames.assert_consistent();
    drop((larges, smalls, credit));
    frames.pool.drain(0);
    assert_eq!(frames.unpromised(), all);
    frames.assert_consistent();
}

#[test]
fn a_credit_that_is_dropped_goes_back() {
    let arrays = TestArrays::new(2 * AREA, 1);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    let all = frames.unpromised();
    let mut credit = Credit::reserve(cpu, 100).unwrap();
    let held = credit.take().unwrap();
    assert_eq!((credit.frames(), frames.promised()), (99, 99));
    drop(credit);
    assert_eq!(frames.promised(), 0);
    drop(held);
    frames.pool.drain(0);
    assert_eq!(frames.unpromised(), all);
    for count in [all + 1, 1 << 32, u64::MAX] {
        let error = Credit::reserve(cpu, count).unwrap_err();
        assert_eq!((error.count, error.free_frames, error.promised_frames), (count, all, 0));
    }
    assert_eq!(Credit::reserve(cpu, 0).unwrap().take().map(drop), None);
    assert_eq!(Credit::none(cpu).take().map(drop), None);
    frames.assert_consistent();
}

#[test]
fn credits_split_and_join() {
    let arrays = [TestArrays::new(AREA, 1), TestArrays::new(AREA, 1)];
    let [one, other] = [arrays[0].allocator(), arrays[1].allocator()];
    let mut credit = Credit::reserve(one.on_cpu(0), 10).unwrap();
    let part = credit.split(4).unwrap();
    assert_eq!((credit.frames(), part.frames(), one.promised()), (6, 4, 10));
    assert!(credit.split(7).is_none());
    assert_eq!(credit.frames(), 6, "a refusal changes nothing");
    let foreign = Credit::reserve(other.on_cpu(0), 3).unwrap();
    let foreign = credit.join(foreign).unwrap_err();
    assert_eq!((credit.frames(), foreign.frames()), (6, 3));
    credit.join(part).unwrap();
    assert_eq!((credit.frames(), one.promised(), other.promised()), (10, 10, 3));
    let kept = credit.into_frames();
    assert_eq!((kept, one.promised()), (10, 10), "the promise stands");
    // SAFETY: the number of the line above, in two parts.
    let parts = unsafe { [3, 7].map(|frames| Credit::from_frames(one.on_cpu(0), frames)) };
    drop(parts);
    drop(foreign);
    assert_eq!((one.promised(), other.promised()), (0, 0));
    one.assert_consistent();
    other.assert_consistent();
}

#[test]
fn the_own_cache_is_drained_before_a_credit_is_refused() {
    let arrays = TestArrays::new(3 * AREA, 2);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    let all = frames.unpromised();
    drop((Small::allocate(cpu).unwrap(), Frame::<Size2MiB, _>::allocate(cpu).unwrap()));
    assert!(frames.unpromised() < all - AREA_FRAMES, "some are in the cache");
    let error = Credit::reserve(frames.on_cpu(1), all).unwrap_err();
    assert_eq!(error.free_frames, all);
    let credit = Credit::reserve(cpu, all).unwrap();
    assert_eq!(frames.statistics().cached, 0);
    drop(credit);
    drop(FrameBatch::<Size4KiB, _>::allocate(cpu, 30).unwrap());
    assert_eq!(FrameBatch::<Size4KiB, _>::allocate(cpu, all).unwrap().count(), all);
}

#[test]
fn a_cached_frame_serves_and_its_promise_goes_back() {
    let arrays = TestArrays::new(3 * AREA, 1);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    drop((Small::allocate(cpu).unwrap(), Frame::<Size2MiB, _>::allocate(cpu).unwrap()));
    let cached = frames.statistics().cached;
    let mut credit = Credit::reserve(cpu, frames.unpromised()).unwrap();
    let taken = (credit.take().unwrap(), credit.take_large().unwrap());
    assert_eq!(frames.statistics().cached, cached - 1 - AREA_FRAMES);
    assert_eq!(frames.unpromised(), 1 + AREA_FRAMES);
    frames.assert_consistent();
    drop(taken);
}

#[test]
fn an_interrupted_cpu_gets_what_it_was_promised() {
    let arrays = TestArrays::new(3 * AREA, 1);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    drop(Small::allocate(cpu).unwrap());
    let mut credit = Credit::reserve(cpu, frames.unpromised()).unwrap();
    let promised = credit.frames();
    let inside = frames.pool.cpus[0].enter();
    assert_nothing_without_credit(cpu);
    let large = credit.take_large().unwrap();
    let smalls: Vec<_> = core::iter::from_fn(|| credit.take()).collect();
    assert_eq!(smalls.len() as u64 + AREA_FRAMES, promised);
    assert_eq!(frames.unpromised(), 0);
    drop(inside);
    frames.assert_consistent();
    drop((large, smalls));
    frames.assert_consistent();
}

#[test]
fn a_fault_between_grant_and_claim_finds_its_frame() {
    let arrays = TestArrays::new(AREA, 1);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    let mut credit = Credit::reserve(cpu, 1).unwrap();
    let mut grant = frames.pool.grant(0, AREA_FRAMES - 2).unwrap();
    let inside = frames.pool.cpus[0].enter();
    let promised = credit.take().unwrap();
    drop(inside);
    let mut claimed = 0;
    while frames.pool.take_some(0, u64::MAX, &mut grant, |_, count| claimed += count) {}
    assert_eq!((claimed, grant.frames()), (AREA_FRAMES - 2, 0));
    drop(promised);
}

#[test]
fn a_promise_that_was_never_made_is_not_waited_for() {
    let arrays = TestArrays::new(AREA, 1);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    let all = FrameBatch::<Size4KiB, _>::allocate(cpu, AREA_FRAMES - 1).unwrap();
    // SAFETY: this breaks the promise that the number comes from a credit, to see what becomes of it.
    let mut credit = unsafe { Credit::from_frames(cpu, 600) };
    assert_eq!(credit.take().map(drop), None);
    assert_eq!(credit.take_large().map(drop), None);
    assert_eq!(credit.into_frames(), 600);
    drop(all);
    frames.assert_consistent();
}

#[test]
fn what_is_freed_twice_is_promised_once() {
    let arrays = TestArrays::new(2 * AREA, 1);
    let frames = arrays.allocator();
    let cpu = frames.on_cpu(0);
    let run = FrameRun::<Size4KiB, _>::allocate(cpu, 100).unwrap();
    let start = run.start();
    drop(run);
    // SAFETY: none: the run is freed again, to see that it is not counted.
    drop(unsafe { FrameRun::<Size4KiB, _>::from_raw(cpu, start, 100) });
    frames.assert_consistent();
    assert_eq!(frames.unpromised(), frames.statistics().total);
}
