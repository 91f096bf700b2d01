//! Two CPUs against each other in every order that the memory model allows, with areas of two words.

extern crate std;

use super::CpuFrames;
use super::area::{AREA_FRAMES, AREA_WORDS};
use super::bitmap::Bitmap;
use super::pool::Pool;
use super::unpromised::Grant;
use crate::memory::atomic::{AtomicU16, AtomicU64, Ordering};
use alloc::boxed::Box;
use alloc::vec::Vec;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// Areas with two CPUs, and the contents of their frames.
struct Machine {
    pool: Pool<'static>,
    contents: Vec<UnsafeCell<usize>>,
    free: u64,
}

/// An array for the rest of the process: each order that is tried leaves a few kilobytes behind.
fn leak<T>(len: usize, new: impl Fn() -> T) -> &'static [T] {
    Box::leak((0..len).map(|_| new()).collect::<Vec<_>>().into_boxed_slice())
}

impl Machine {
    /// A machine of one area in which these frames are free.
    fn new(first: u64, count: u64) -> Arc<Self> {
        Self::of_areas(1, first, count)
    }

    /// A machine of so many areas in which these frames are free.
    fn of_areas(areas: usize, first: u64, count: u64) -> Arc<Self> {
        let word = || AtomicU64::new(0);
        let counters = leak(areas, || AtomicU16::new(0));
        let bitmap = Bitmap::new(leak(areas * AREA_WORDS, word), counters, leak(1, word), leak(1, word));
        let pool = Pool::new(bitmap, leak(2, CpuFrames::new));
        pool.release(first, count);
        let contents = (0..areas as u64 * AREA_FRAMES).map(|_| UnsafeCell::new(0)).collect();
        Arc::new(Self { pool, contents, free: count })
    }

    /// Uses frames as their owner does: the model checker reports anyone who does so at the same time.
    fn write(&self, first: u64, count: u64, value: usize) {
        for content in &self.contents[first as usize..(first + count) as usize] {
            // SAFETY: the caller owns the frame; if the allocator gave it to another as well, the model checker stops
            // before the access.
            content.with_mut(|content| unsafe { *content = value });
        }
    }

    /// Counters, bits and hints, after both CPUs are done and have drained their caches.
    fn assert_all_free(&self) {
        let bitmap = &self.pool.bitmap;
        let mut free = 0;
        for area in 0..bitmap.areas() {
            let words = bitmap.area_words(area).1;
            let clear: u32 = words.iter().map(|word| word.load(Ordering::Relaxed).count_zeros()).sum();
            assert_eq!(bitmap.counter(area), u64::from(clear));
            free += bitmap.counter(area);
            let (nonempty, whole) = (bitmap.nonempty.next_set(area, None), bitmap.whole.next_set(area, None));
            assert!(clear == 0 || nonempty == Some(area), "no search finds the free frames");
            assert_eq!(whole == Some(area), bitmap.is_whole(area));
        }
        assert_eq!((free, bitmap.double_frees()), (self.free, 0));
        let unpromised = &self.pool.unpromised;
        assert_eq!((unpromised.frames(), unpromised.promised()), (self.free, 0));
    }
}

/// More preemptions than this are not tried; each operation has about ten places for one.
const PREEMPTIONS_MAX: usize = 4;

/// Runs both in every order, and looks at the machine afterwards.
fn check(machine: fn() -> Arc<Machine>, one: fn(&Machine), other: fn(&Machine)) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS_MAX);
    model.check(move || {
        let machine = machine();
        let theirs = Arc::clone(&machine);
        let thread = thread::spawn(move || other(&theirs));
        one(&machine);
        thread.join().unwrap();
        machine.assert_all_free();
    });
}

fn use_one_frame(machine: &Machine, cpu: usize) {
    if let Some(frame) = machine.pool.allocate_frame(cpu) {
        machine.write(frame, 1, cpu);
        machine.pool.free_frame(cpu, frame);
    }
    machine.pool.drain(cpu);
}

/// Uses a frame that was promised, which is there whatever the other does.
fn use_promised_frame(machine: &Machine, cpu: usize, redeem: fn(&Pool<'static>, usize) -> Option<u64>) {
    let frame = redeem(&machine.pool, cpu).expect("a promised frame");
    machine.write(frame, 1, cpu);
    machine.pool.release(frame, 1);
}

fn use_shared_frames(machine: &Machine, most: u64) {
    machine.pool.bitmap.claim_some(0, most, |word, mask| {
        super::area::for_each_run(word, mask, |first, count| {
            machine.write(first, count, 1);
            machine.pool.bitmap.release(first, count);
        });
    });
}

fn use_run(machine: &Machine, first: u64, count: u64) {
    if machine.pool.bitmap.claim_exactly(first, count) {
        machine.write(first, count, 2);
        machine.pool.bitmap.release(first, count);
    }
}

fn use_area(machine: &Machine) {
    if machine.pool.bitmap.claim_area(0) {
        // Every frame would be tried in every order: one of each word says as much.
        machine.write(0, 1, 3);
        machine.write(AREA_FRAMES - 1, 1, 3);
        machine.pool.bitmap.release(0, AREA_FRAMES);
    }
}

#[test]
fn loom_the_last_frame_is_handed_over() {
    check(|| Machine::new(5, 1), |machine| use_one_frame(machine, 0), |machine| use_one_frame(machine, 1));
}

#[test]
fn loom_two_cpus_share_an_area() {
    check(|| Machine::new(63, 2), |machine| use_one_frame(machine, 0), |machine| use_one_frame(machine, 1));
}

#[test]
fn loom_a_frame_that_is_paid_for_is_found() {
    let one = |machine: &Machine| {
        let bitmap = &machine.pool.bitmap;
        let mut found = 0;
        // Each holds at most one of two frames, so there is always one for the other.
        assert_eq!(
            bitmap.claim_some(0, 1, |word, mask| found = word as u64 * 64 + u64::from(mask.trailing_zeros())),
            1
        );
        machine.write(found, 1, 4);
        bitmap.release(found, 1);
    };
    check(|| Machine::new(63, 2), one, one);
}

#[test]
fn loom_a_run_against_single_frames() {
    check(|| Machine::new(62, 4), |machine| use_run(machine, 63, 2), |machine| use_shared_frames(machine, 3));
}

#[test]
fn loom_two_runs_that_overlap() {
    check(|| Machine::new(62, 4), |machine| use_run(machine, 62, 3), |machine| use_run(machine, 63, 3));
}

#[test]
fn loom_a_whole_area_against_a_single_frame() {
    check(|| Machine::new(0, AREA_FRAMES), use_area, |machine| use_shared_frames(machine, 1));
}

#[test]
fn loom_a_whole_area_against_a_run() {
    check(|| Machine::new(0, AREA_FRAMES), use_area, |machine| use_run(machine, 63, 2));
}

#[test]
fn loom_a_whole_area_against_a_whole_area() {
    check(|| Machine::new(0, AREA_FRAMES), use_area, use_area);
}

#[test]
fn loom_a_whole_area_against_a_cached_frame() {
    check(|| Machine::new(0, AREA_FRAMES), use_area, |machine| use_one_frame(machine, 1));
}

#[test]
fn loom_a_hint_is_cleared_while_it_comes_true() {
    check(
        || {
            let machine = Machine::new(5, 1);
            assert!(machine.pool.bitmap.claim_exactly(5, 1));
            machine
        },
        |machine| assert_eq!(machine.pool.bitmap.release(5, 1), 1),
        |machine| {
            let bitmap = &machine.pool.bitmap;
            if bitmap.counter(0) == 0 {
                bitmap.nonempty.clear_unless(0, || bitmap.counter(0) > 0);
            }
        },
    );
}

#[test]
fn loom_the_last_frame_goes_to_whom_it_was_promised() {
    check(
        || {
            let machine = Machine::new(63, 1);
            assert!(machine.pool.promise(0, 1));
            machine
        },
        |machine| {
            use_promised_frame(machine, 0, Pool::redeem_frame);
            machine.pool.drain(0);
        },
        |machine| use_one_frame(machine, 1),
    );
}

/// One frame in each of two areas, one of them promised. No hint leads to the second, so that the search comes by each
/// area in turn, which is when it may miss something.
fn one_frame_in_each_area() -> Arc<Machine> {
    let machine = Machine::of_areas(2, AREA_FRAMES - 1, 2);
    machine.pool.bitmap.nonempty.clear_unless(1, || false);
    assert!(machine.pool.promise(0, 1));
    machine
}

/// Takes the frame of the second area by a grant, if it is there.
fn use_second_area(machine: &Machine, mut grant: Grant<'_>) {
    if machine.pool.bitmap.claim_exactly(AREA_FRAMES, 1) {
        grant.spend(1);
        machine.write(AREA_FRAMES, 1, 1);
        machine.pool.release(AREA_FRAMES, 1);
    }
}

#[test]
fn loom_a_promised_frame_is_found_while_others_come_and_go() {
    check(
        || {
            let machine = one_frame_in_each_area();
            assert_eq!(machine.pool.allocate_run(0, 1), Some(AREA_FRAMES - 1));
            machine
        },
        |machine| use_promised_frame(machine, 0, Pool::redeem_shared_frame),
        |machine| {
            // A frame comes where the search has been, and another goes where it has not been.
            machine.pool.release(AREA_FRAMES - 1, 1);
            use_second_area(machine, machine.pool.unpromised.grant(1, 1).unwrap());
        },
    );
}

#[test]
fn loom_a_promised_frame_is_found_while_another_is_put_back() {
    check(
        one_frame_in_each_area,
        |machine| use_promised_frame(machine, 0, Pool::redeem_shared_frame),
        |machine| {
            // The same grant, subtracted from one area and then from the other.
            let grant = machine.pool.unpromised.grant(1, 1).unwrap();
            assert!(!machine.pool.bitmap.claim_exactly(0, 1), "it is taken");
            use_second_area(machine, grant);
        },
    );
}
