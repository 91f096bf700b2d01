//! What the allocator's churn finds and counts, over allocators that have faults.

use super::*;
use crate::churn::figure::Figure;
use crate::execute::{Observer, WrongWord};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::ptr::NonNull;
use core::time::Duration;

const BUDGET: u64 = 2 << 20;

/// What is wrong with an allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// From the operation with this number on, all memory is refused.
    Full(u64),
    /// When the operation with this number begins, a byte of each of many blocks is spoilt.
    Spoils(u64),
    /// Resizing a block spoils its first byte, once.
    SpoilsWhenResizing,
}

struct FaultyHeap {
    fault: Cell<Fault>,
    /// Bytes, free or not.
    all: u64,
    calls: Cell<u64>,
    live: Cell<u64>,
    live_max: Cell<u64>,
    /// Lengths by address.
    in_use: RefCell<BTreeMap<NonNull<u8>, usize>>,
    lengths: RefCell<Vec<usize>>,
}

impl FaultyHeap {
    fn new(fault: Fault) -> Self {
        Self {
            fault: Cell::new(fault),
            all: 2 * BUDGET,
            calls: Cell::default(),
            live: Cell::default(),
            live_max: Cell::default(),
            in_use: RefCell::default(),
            lengths: RefCell::default(),
        }
    }

    /// Begins an operation. Says whether it is refused.
    fn is_refused(&self) -> bool {
        let call = self.calls.get();
        self.calls.set(call + 1);
        if self.fault.get() == Fault::Spoils(call) {
            // The blocks of a batch have no pattern before its end. Of so many few are of the batch at work.
            self.in_use.borrow().keys().take(2 * BATCH).for_each(|block| spoil(*block));
        }
        matches!(self.fault.get(), Fault::Full(first) if call >= first)
    }

    fn count(&self, block: Option<NonNull<u8>>, len: usize) -> Option<NonNull<u8>> {
        self.in_use.borrow_mut().insert(block?, len);
        self.lengths.borrow_mut().push(len);
        self.live.set(self.live.get() + len as u64);
        self.live_max.set(self.live_max.get().max(self.live.get()));
        block
    }

    fn forget(&self, block: NonNull<u8>) {
        let len = self.in_use.borrow_mut().remove(&block).unwrap();
        self.live.set(self.live.get() - len as u64);
    }
}

fn spoil(block: NonNull<u8>) {
    // SAFETY: every block has a byte, and in these tests there is one thread.
    unsafe { block.write(block.read() ^ 0x10) };
}

const GLOBAL: GlobalHeap<fn() -> u64> = GlobalHeap(|| 0);

// SAFETY: 1, blocks are the global allocator's. 2 is broken on purpose, by bytes that any value is right for.
unsafe impl Allocator for FaultyHeap {
    fn allocate(&self, len: usize) -> Option<NonNull<u8>> {
        if self.is_refused() { None } else { self.count(GLOBAL.allocate(len), len) }
    }

    unsafe fn resize(&self, block: NonNull<u8>, len: usize, new_len: usize) -> Option<NonNull<u8>> {
        if self.is_refused() {
            return None;
        }
        self.forget(block);
        // SAFETY: the caller's promise.
        let resized = unsafe { GLOBAL.resize(block, len, new_len) };
        if self.fault.get() == Fault::SpoilsWhenResizing {
            self.fault.set(Fault::None);
            spoil(resized.unwrap());
        }
        self.count(resized, new_len)
    }

    unsafe fn free(&self, block: NonNull<u8>, len: usize) {
        self.forget(block);
        // SAFETY: the caller's promise.
        unsafe { GLOBAL.free(block, len) }
    }

    fn grow(&self, vector: &mut Vec<u64>) -> bool {
        !self.is_refused() && GLOBAL.grow(vector)
    }

    fn free_bytes(&self) -> u64 {
        self.all.saturating_sub(self.live.get())
    }
}

/// Keeps what it is told.
#[derive(Default)]
struct Witness {
    wrong: Vec<WrongWord>,
    looks: u64,
    looks_max: Option<u64>,
}

impl Observer for Witness {
    fn wrong(&mut self, word: WrongWord) {
        self.wrong.push(word);
    }

    fn progress(&mut self, _: u64) -> ControlFlow<()> {
        self.looks += 1;
        match self.looks_max {
            Some(max) if self.looks >= max => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Runs it all. Each look at the clock takes a microsecond.
fn run_on(heap: &FaultyHeap, seed: u64, witness: &mut Witness) -> (ControlFlow<()>, Vec<Figure>) {
    let clock = Cell::new(0);
    let now = || {
        clock.set(clock.get() + 1);
        Duration::from_micros(clock.get())
    };
    let mut watch = Watch::new(&now, witness);
    let ended = run(heap, BUDGET, seed, &mut watch);
    let figures = watch.into_figures();
    assert_eq!(heap.live.get(), 0, "all blocks are freed, however it ends");
    (ended, figures)
}

#[test]
fn a_good_allocator_passes_and_every_part_reports() {
    let (heap, mut witness) = (FaultyHeap::new(Fault::None), Witness::default());
    let (ended, figures) = run_on(&heap, 1, &mut witness);
    assert_eq!((ended, witness.wrong), (ControlFlow::Continue(()), Vec::new()));
    let parts: Vec<&str> = figures.iter().map(|figure| figure.part.as_str()).collect();
    assert_eq!(parts, ["replace", "resize", "push", "scatter", "large"]);
    assert!(figures.iter().all(|figure| figure.operations > 0 && figure.refused == 0), "{figures:?}");
    assert!(figures.iter().all(|figure| !figure.time.is_zero()));
    let room = figures[3].room.unwrap();
    assert!(room.largest_block_bytes <= room.free_bytes && room.thousandths() > 990, "{room:?}");
}

#[test]
fn blocks_stay_within_the_budget() {
    for budget in [64 << 10, 1 << 20, 3 << 20] {
        // Without free bytes no block is searched for that is as large as can be.
        let heap = FaultyHeap { all: 0, ..FaultyHeap::new(Fault::None) };
        let mut witness = Witness::default();
        let _ = run(&heap, budget, 3, &mut Watch::new(&|| Duration::ZERO, &mut witness));
        let most = heap.live_max.get();
        assert!(most <= budget + BATCH as u64 && most > budget / 4, "{most} of {budget}");
    }
}

#[test]
fn a_seed_decides_what_is_done() {
    let lengths = |seed| {
        let heap = FaultyHeap::new(Fault::None);
        let (_, figures) = run_on(&heap, seed, &mut Witness::default());
        let done: Vec<_> = figures.iter().map(|figure| (figure.operations, figure.refused)).collect();
        (heap.lengths.into_inner(), done)
    };
    assert!(lengths(1) == lengths(1));
    assert!(lengths(1).0 != lengths(2).0);
}

#[test]
fn spoilt_blocks_are_found_with_their_bits() {
    let good = FaultyHeap::new(Fault::None);
    let _ = run_on(&good, 1, &mut Witness::default());
    let at = |eighths| Fault::Spoils(good.calls.get() * eighths / 8);
    for fault in (1..=6).map(at).chain([Fault::SpoilsWhenResizing]) {
        let (heap, mut witness) = (FaultyHeap::new(fault), Witness::default());
        let (ended, _) = run_on(&heap, 1, &mut witness);
        assert_eq!(ended, ControlFlow::Continue(()));
        assert!(!witness.wrong.is_empty(), "{fault:?}");
        assert!(witness.wrong.iter().all(|word| word.expected ^ word.found == 0x10), "{:x?}", witness.wrong);
    }
}

#[test]
fn a_spoilt_element_is_found() {
    let mut vector = vectors::Growing::new(5);
    let mut figure = Figure::new("push");
    assert!(vector.push(&GLOBAL, 1000, &mut figure));
    assert_eq!(figure.operations, 1000);
    let mut witness = Witness::default();
    vector.verify(&mut witness);
    assert!(witness.wrong.is_empty());
    vector.elements[700] ^= 1 << 40;
    vector.verify(&mut witness);
    let address = &raw const vector.elements[700] as u64;
    assert_eq!(witness.wrong.iter().map(|word| word.address).collect::<Vec<_>>(), [address]);
}

#[test]
fn refusals_are_counted_and_nothing_is_wrong() {
    for first in [0, 10, 500, 700] {
        let (heap, mut witness) = (FaultyHeap::new(Fault::Full(first)), Witness::default());
        let (ended, figures) = run_on(&heap, 1, &mut witness);
        assert_eq!((ended, &witness.wrong), (ControlFlow::Continue(()), &Vec::new()));
        let refused: u64 = figures.iter().map(|figure| figure.refused).sum();
        assert!(refused > 0 && refused <= heap.calls.get() - first, "{first}: {figures:?}");
        assert_eq!(figures[3].operations, 0, "{figures:?}");
        assert_eq!(figures[3].room.unwrap().largest_block_bytes, 0);
    }
}

#[test]
fn it_stops_when_it_is_told_with_what_it_has() {
    let (heap, mut witness) =
        (FaultyHeap::new(Fault::None), Witness { looks_max: Some(5), ..Witness::default() });
    let (ended, figures) = run_on(&heap, 1, &mut witness);
    assert_eq!((ended, witness.looks), (ControlFlow::Break(()), 5));
    assert_eq!(figures.len(), 1);
    assert!(figures[0].operations > 0);
}
