//! Each range that the heap takes is refused once, and from then on.

use super::fixture::{MIB, Memory, TestHeap};
use super::model_tests::{Operation, operations, run};
use super::{End, OneRange, RangeSource};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ops::Range;
use core::ptr::NonNull;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// A source that refuses some of the ranges it is asked for, by their number.
struct Refusing {
    source: OneRange,
    asked: usize,
    refused: Range<usize>,
}

// SAFETY: all it gives out is the other source's.
unsafe impl RangeSource for Refusing {
    fn take(&mut self, layout: Layout, end: End) -> Option<NonNull<u8>> {
        self.asked += 1;
        if self.refused.contains(&(self.asked - 1)) { None } else { self.source.take(layout, end) }
    }

    unsafe fn give_back(&mut self, start: NonNull<u8>, len_bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.source.give_back(start, len_bytes) };
    }

    unsafe fn grow(&mut self, start: NonNull<u8>, len_bytes: usize, new_len_bytes: usize) -> bool {
        self.asked += 1;
        // SAFETY: the caller's promise.
        !self.refused.contains(&(self.asked - 1))
            && unsafe { self.source.grow(start, len_bytes, new_len_bytes) }
    }

    unsafe fn shrink(&mut self, start: NonNull<u8>, len_bytes: usize, new_len_bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.source.shrink(start, len_bytes, new_len_bytes) };
    }

    fn starts_at(&self, address: usize) -> bool {
        self.source.starts_at(address)
    }

    fn at(&self, address: usize) -> *mut u8 {
        self.source.at(address)
    }

    fn len_bytes(&self) -> u64 {
        self.source.len_bytes()
    }

    fn free_bytes(&self) -> u64 {
        self.source.free_bytes()
    }

    fn largest_free_bytes(&self) -> u64 {
        self.source.largest_free_bytes()
    }

    fn overhead_bytes(&self) -> u64 {
        self.source.overhead_bytes()
    }
}

/// Does the operations on a heap that is refused some ranges; says how many it asked for.
fn asked(operations: &[Operation], refused: Range<usize>) -> usize {
    let memory = Memory::new(16 * MIB, 4096);
    let heap = TestHeap::new(Refusing { source: memory.source(0), asked: 0, refused });
    let before = heap.statistics();
    run(&heap, operations);
    assert_eq!(heap.statistics(), before);
    heap.trim();
    heap.with_shared(|shared| {
        assert!(shared.source.source.is_whole());
        shared.source.asked
    })
}

#[test]
fn whichever_range_is_refused_nothing_is_lost() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..if cfg!(miri) { 1 } else { 5 } {
        let operations: Vec<Operation> = operations().new_tree(&mut runner).unwrap().current();
        let most = asked(&operations, 0..0);
        for number in (0..most).step_by(if cfg!(miri) { 20 } else { 1 }) {
            asked(&operations, number..number + 1);
            asked(&operations, number..usize::MAX);
        }
    }
}
