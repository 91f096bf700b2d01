//! Two threads against each other, at random.

use super::test_machine::{TestArrays, TestCpu};
use super::*;
use crate::memory::atomic::{AtomicU8, Ordering};
use crate::memory::page_size::Size4KiB;
use alloc::vec::Vec;

extern crate std;

#[test]
fn two_threads_never_hold_the_same_frame() {
    // Miri is ten thousand times slower than the processor.
    let (areas, size_max) = if cfg!(miri) { (2, 70) } else { (6, 700) };
    let arrays = TestArrays::new(areas * 512, 2);
    let frames = arrays.allocator();
    let before = frames.statistics();
    let rounds = if cfg!(miri) { 12 } else { 30_000 };
    std::thread::scope(|scope| {
        for cpu in 0..2 {
            let cpu = frames.on_cpu(cpu);
            scope.spawn(move || {
                let mut state = 0x9e37_79b9_7f4a_7c15_u64 + cpu.cpu as u64;
                let mut held: Vec<FrameRun<Size4KiB, _>> = Vec::new();
                let mark = |run: &FrameRun<Size4KiB, TestCpu<'_>>, from: u8, to: u8| {
                    let first = run.start().frame_number();
                    for frame in first..first + run.count() {
                        let mark: &AtomicU8 = cpu.frames.mark(frame);
                        assert_eq!(mark.swap(to, Ordering::Relaxed), from, "frame {frame}");
                    }
                };
                for _ in 0..rounds {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let (choice, size) = (
                        state >> 33,
                        [1, 1, 1, 3, 20, 100, 512, 700][(state >> 60) as usize % 8].min(size_max),
                    );
                    if choice % 100 < 50 {
                        if let Ok(run) = FrameRun::allocate(cpu, size) {
                            mark(&run, 0, 1);
                            held.push(run);
                        }
                    } else if choice % 100 < 55 {
                        let mut batch =
                            FrameBatch::allocate(cpu, size).unwrap_or_else(|_| FrameBatch::new(cpu));
                        while let Some(run) = batch.pop_run(u64::MAX) {
                            mark(&run, 0, 1);
                            held.push(run);
                        }
                    } else if choice % 100 < 60 {
                        let mut credit =
                            FrameCredit::reserve(cpu, size).unwrap_or_else(|_| FrameCredit::none(cpu));
                        while credit.frames() > size / 4 {
                            let run = FrameRun::from(credit.take().expect("a promised frame"));
                            mark(&run, 0, 1);
                            held.push(run);
                        }
                    } else if !held.is_empty() {
                        let run = held.swap_remove(choice as usize / 100 % held.len());
                        mark(&run, 1, 0);
                    }
                }
                held.iter().for_each(|run| mark(run, 1, 0));
                drop(held);
                cpu.frames.pool.drain(cpu.cpu);
            });
        }
    });
    assert_eq!(frames.statistics(), before);
    frames.assert_consistent();
}
