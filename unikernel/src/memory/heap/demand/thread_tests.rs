//! Page faults of two CPUs at the same time, in the same blocks and in others.

extern crate std;

use super::tests::{BLOCK, address, layout};
use super::{BLOCK_LEN, ClearFrames, DemandRanges, PageMap, Pager};
use crate::memory::PAGE_LEN;
use crate::memory::address::PhysAddr;
use crate::memory::address_space::AddressSpace;
use crate::memory::atomic::{AtomicU8, AtomicU64};
use crate::memory::audit::audit;
use crate::memory::frame::{Frame, FrameAllocator, FrameSource};
use crate::memory::heap::{End, GRANULE_LEN, OneRange, RangeSource};
use crate::memory::page_size::Size2MiB;
use crate::memory::page_table::level::ENTRIES;
use crate::memory::page_table::{FlushRequest, Machine, Paging, Shootdown, TableMemory, Tracked};
use crate::memory::simulation::{RING_0, SimulatedCpu, SimulatedRam, Simulation};
use crate::memory::subtree::Subtree;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ptr::{self, NonNull};
use std::sync::Barrier;
use std::thread_local;

const CPUS: usize = 2;
const BLOCKS: usize = 4;

thread_local! {
    /// The CPU that the thread is.
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// The machine as a guest has it: whichever CPU runs is the one that is meant.
#[derive(Clone, Copy)]
struct Running<'a>([SimulatedCpu<'a>; CPUS]);

// SAFETY: each thread of these tests is a CPU of its own by `INDEX`, and uses the handle of that one alone, but for what does
// not depend on the CPU.
unsafe impl Send for Running<'_> {}
// SAFETY: the same.
unsafe impl Sync for Running<'_> {}

// SAFETY: 1, all handles are of one machine. 2, threads that run at the same time have different indices.
unsafe impl FrameSource for Running<'_> {
    fn frames(&self) -> &FrameAllocator<'_> {
        self.0[0].frames()
    }

    fn cpu(&self) -> usize {
        self.0[INDEX.get()].cpu()
    }
}

// SAFETY: the simulated machine's.
unsafe impl TableMemory for Running<'_> {
    type Cell = AtomicU64;

    unsafe fn table(&self, frame: PhysAddr) -> &[AtomicU64; ENTRIES] {
        // SAFETY: the caller's promise.
        unsafe { self.0[0].table(frame) }
    }

    fn paging(&self) -> Paging {
        self.0[0].paging()
    }
}

// SAFETY: the simulated machine's.
unsafe impl Machine for Running<'_> {
    fn space(&self) -> &AddressSpace {
        self.0[0].space()
    }
}

// SAFETY: the simulated machine's.
unsafe impl ClearFrames for Running<'_> {
    unsafe fn clear(&self, start: PhysAddr, len_bytes: u64) {
        // SAFETY: the caller's promise.
        unsafe { self.0[0].clear(start, len_bytes) };
    }
}

/// No processor walks the tables.
struct NoTlb;

// SAFETY: 1 to 3, no processor ever loaded a simulated table, so none has a translation.
unsafe impl Shootdown<Running<'_>> for NoTlb {
    fn invalidate(&self, _: &FlushRequest) {}
}

type Source<'a> = DemandRanges<'a, Running<'a>, NoTlb>;
type Range = (NonNull<u8>, usize);

fn with_two_cpus(around: usize, test: impl FnOnce(&Pager<'_, Running<'_>>, &mut Source<'_>)) {
    let frames = 4096;
    let mut ram = SimulatedRam::new(frames, frames, CPUS);
    let machine = Simulation::new(&mut ram, RING_0, core::slice::from_ref(&(0..frames as u64))).unwrap();
    let (first, _) = machine.boot().unwrap();
    let running = Running([first, machine.cpu(1).unwrap()]);
    let words: Vec<_> = (0..PageMap::words_for(BLOCKS)).map(|_| AtomicU64::new(0)).collect();
    let bytes: Vec<_> = (0..BLOCKS).map(|_| AtomicU8::new(0)).collect();
    let len_bytes = BLOCKS as u64 * BLOCK_LEN;
    let range = Subtree::<Tracked>::reserve(running, len_bytes, BLOCK_LEN).unwrap();
    let base = range.range().start.as_u64() as usize;
    let map = PageMap::new(&words, &bytes);
    let pager = Pager::new(running, range, map, around as u64).map_err(|rejected| rejected.error).unwrap();
    let granules = len_bytes as usize / GRANULE_LEN;
    let mut notes = vec![0_u128; granules + 2];
    let start = ptr::without_provenance_mut(base);
    // SAFETY: there is a note a granule and one on either side, and the granules are never touched; it is the pager's only
    // source.
    let mut source = unsafe {
        let addresses = OneRange::apart(notes.as_mut_ptr().cast(), start, granules as u32, len_bytes);
        Source::over(&pager, addresses, base, NoTlb)
    };
    let free = running.frames().statistics().free;
    test(&pager, &mut source);
    source.trim();
    check(&pager);
    assert_eq!((pager.credit_frames(), pager.handed_out_bytes()), (0, 0), "all was given back");
    assert_eq!(running.frames().statistics().free, free, "and so were the frames and tables");
}

fn check(pager: &Pager<'_, Running<'_>>) {
    assert_eq!(pager.credit_frames(), pager.expected_credit_frames());
    assert_eq!(pager.credit_frames(), pager.machine().frames().promised());
    let report = audit(pager.machine());
    assert!(report.is_clean(), "{report}");
}

/// Faults in every granule of a range, from some granule on, upwards or downwards.
fn fault(pager: &Pager<'_, Running<'_>>, (start, len): Range, from: usize, down: bool) {
    let count = len / GRANULE_LEN;
    for step in 0..count {
        let granule = (from + if down { count - step } else { step }) % count;
        let page = from % 4 * PAGE_LEN as usize;
        let paged = pager.page_in(address(start, granule * GRANULE_LEN + page));
        assert!(paged == Ok(PAGE_LEN) || paged == Ok(BLOCK_LEN), "{paged:?}");
    }
}

/// Does one thing as CPU 0, which is this thread, and another as CPU 1, from the same moment on.
fn both(one: impl FnOnce(), other: impl FnOnce() + Send) {
    let barrier = Barrier::new(CPUS);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            INDEX.set(1);
            barrier.wait();
            other();
        });
        barrier.wait();
        one();
    });
}

#[test]
fn two_cpus_fault_in_the_same_blocks_and_in_others() {
    let lengths = if cfg!(miri) {
        [3 * GRANULE_LEN, 2 * GRANULE_LEN, BLOCK]
    } else {
        [40 * GRANULE_LEN, 70 * GRANULE_LEN, BLOCK + 3 * GRANULE_LEN]
    };
    with_two_cpus(GRANULE_LEN, |pager, source| {
        let (rounds, mut without_large) = (if cfg!(miri) { 2 } else { 300 }, 0);
        for round in 0..rounds {
            let take = |len| (source.take_zeroed(layout(len, GRANULE_LEN), End::Low).unwrap(), len);
            let ranges: [Range; 3] = lengths.map(take);
            let before = (pager.faults(), pager.mapped());
            assert_eq!(before.1.small, 0);
            // In the second half somebody has a frame of each 2 MiB, so that there is no large one but what a CPU has in its
            // cache.
            let wanted = if round < rounds / 2 { 0 } else { usize::MAX };
            let large = |_| Frame::<Size2MiB, _>::allocate(pager.machine()).ok();
            let first = |frame: Frame<_, _>| frame.split().split_first().0;
            let held: Vec<_> = (0..wanted).map_while(large).map(first).collect();
            let order = [[0, 1, 2], [2, 1, 0], [0, 2, 1]];
            let starts = ranges.map(|(start, len)| (start.addr().get(), len));
            let all = |number: usize, down: bool| {
                for index in order[number % 3] {
                    let (start, len) = starts[index];
                    fault(pager, (source_at(start), len), round * 7 + number / 3 * 50, down);
                }
            };
            both(|| all(round, false), || all(round / 3, round % 4 < 2));
            check(pager);
            let (faults, mapped) = (pager.faults(), pager.mapped());
            assert_eq!(mapped.small, 4 * (faults.small - before.0.small), "no granule came twice");
            assert_eq!(mapped.large, faults.large - before.0.large);
            let bytes = mapped.small * PAGE_LEN + mapped.large * BLOCK_LEN;
            assert_eq!((bytes as usize, pager.credit_frames()), (lengths.iter().sum(), 0));
            assert!(mapped.large == 1 || !held.is_empty(), "a large frame was free");
            without_large += usize::from(mapped.large == 0);
            for (start, len) in ranges {
                // SAFETY: taken above; both CPUs are done.
                unsafe { source.give_back(start, len) };
            }
            source.trim();
        }
        assert!(without_large > rounds / 4, "{without_large} of {rounds}");
    });
}

#[test]
fn one_takes_and_gives_back_while_another_faults_beside_it() {
    let granules = if cfg!(miri) { 3 } else { 60 };
    // Each fault maps what lies around, of the other CPU, too.
    with_two_cpus(4 * GRANULE_LEN, |pager, source| {
        for round in 0..if cfg!(miri) { 2 } else { 300 } {
            let len = granules * GRANULE_LEN;
            let range = source.take(layout(len, GRANULE_LEN), End::Low).unwrap();
            let theirs = range.addr().get();
            both(
                || {
                    for turn in 0..granules / 3 {
                        let len = (1 + (turn + round) % 5) * GRANULE_LEN;
                        let beside = source.take_zeroed(layout(len, GRANULE_LEN), End::Low).unwrap();
                        fault(pager, (beside, len), turn, false);
                        // SAFETY: taken above.
                        unsafe { source.give_back(beside, len) };
                        source.trim();
                    }
                },
                || fault(pager, (source_at(theirs), len), round, round % 2 == 0),
            );
            check(pager);
            assert_eq!((pager.mapped().small, pager.credit_frames()), (4 * granules as u64, 0));
            // SAFETY: taken above; both CPUs are done.
            unsafe { source.give_back(range, len) };
            source.trim();
        }
    });
}

/// The pointer to a range, for another thread: it is never followed.
fn source_at(start: usize) -> NonNull<u8> {
    NonNull::new(ptr::without_provenance_mut(start)).unwrap()
}
