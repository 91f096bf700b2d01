//! Several changes under one flush.

use super::fixture::*;
use crate::memory::kind::Kind;
use crate::memory::page_size::{Size2MiB, Size4KiB};
use crate::memory::page_table::attributes::DataAccess;
use crate::memory::page_table::{Error, Mmio, Tracked, flush};
use crate::memory::simulation::NoTlb;

#[test]
fn all_that_a_cursor_does_is_flushed_once() {
    with_machine(|cpu| {
        let before = state(cpu);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 512), HEAP).unwrap();
        heap.map(at(&heap, 2 * MIB2), run::<Size2MiB, _>(cpu, 1), HEAP).unwrap();
        heap.map(at(&heap, GIB), run::<Size4KiB, _>(cpu, 4), HEAP).unwrap();
        let mut cursor = heap.cursor();
        cursor.promote::<Size2MiB>(cursor.range().start).unwrap();
        cursor.split::<Size2MiB>(inside(&cursor, 2 * MIB2, MIB2).start).unwrap();
        cursor.protect(inside(&cursor, 2 * MIB2, KIB4), DataAccess::ReadOnly).unwrap();
        cursor.unmap(inside(&cursor, 2 * MIB2 + KIB4, 511 * KIB4)).unwrap();
        cursor.detach(inside(&cursor, GIB, MIB2)).unwrap();
        cursor.map(inside(&cursor, 2 * GIB, KIB4).start, run::<Size4KiB, _>(cpu, 2), HEAP).unwrap();
        let waiting = state(cpu).audit;
        assert_eq!(waiting.frames.retired, 1);
        assert_eq!(waiting.kind(Kind::Tracked).leaves, [1 + 2, 1, 0]);
        assert_eq!(waiting.kind(Kind::Tracked).detached_leaves, [511 + 4, 0, 0]);
        let hull = inside(&cursor, 0, GIB + MIB2);
        let detached = cursor.finish();
        assert_eq!(detached.flush_range(), Some(hull));
        let tlb = NoTlb::default();
        let heap = flush(detached, &tlb).release();
        assert_eq!(tlb.requests(), 1);
        let (small, large) = ((2 * MIB2, KIB4), (0, MIB2));
        let found: alloc::vec::Vec<_> =
            leaves(&heap).iter().map(|(offset, len, _)| (*offset, *len)).collect();
        assert_eq!(found, [large, small, (2 * GIB, KIB4), (2 * GIB + KIB4, KIB4)]);
        let after = state(cpu).audit;
        assert_eq!(after.frames.heap, 512 + 1 + 2);
        assert_eq!(after.outstanding, 0);
        let _heap = release(heap.detach().unwrap());
        assert_eq!(state(cpu), before);
    });
}

#[test]
fn a_cursor_maps_nothing_where_something_awaits_a_flush() {
    with_small_machine(|cpu| {
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, 10 * KIB4), device::<Size4KiB, _>(&cpu, 0, 10), UNCACHED).unwrap();
        let mut cursor = devices.cursor();
        cursor.unmap(inside(&cursor, 12 * KIB4, 2 * KIB4)).unwrap();
        let before = state(cpu);
        let pending = inside(&cursor, 12 * KIB4, 2 * KIB4);
        for (start, count) in [(12, 1), (13, 1), (11, 2), (0, 100)] {
            let range = inside(&cursor, start * KIB4, count * KIB4);
            let registers = device::<Size4KiB, _>(&cpu, 0, count);
            let (error, back) = refused(cursor.map(range.start, registers, UNCACHED));
            assert_eq!(error, Error::AwaitingFlush { range, pending });
            assert_eq!(back, registers);
            assert_eq!(state(cpu), before);
        }
        cursor
            .map(inside(&cursor, 9 * KIB4, KIB4).start, device::<Size4KiB, _>(&cpu, 0, 1), UNCACHED)
            .unwrap();
        cursor
            .map(inside(&cursor, 20 * KIB4, KIB4).start, device::<Size4KiB, _>(&cpu, 0, 1), UNCACHED)
            .unwrap();
        let mut devices = release(cursor.finish());
        devices.map(at(&devices, 12 * KIB4), device::<Size4KiB, _>(&cpu, 0, 2), UNCACHED).unwrap();
        assert_eq!(leaves(&devices).len(), 12);
        state(cpu);
    });
}

#[test]
fn what_was_taken_out_twice_goes_back_once() {
    with_small_machine(|cpu| {
        let before = state(cpu);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 6), HEAP).unwrap();
        let mut cursor = heap.cursor();
        cursor.unmap(inside(&cursor, KIB4, KIB4)).unwrap();
        cursor.unmap(inside(&cursor, KIB4, KIB4)).unwrap();
        cursor.unmap(inside(&cursor, 0, 6 * KIB4)).unwrap();
        cursor.trim();
        assert_eq!(state(cpu).audit.kind(Kind::Tracked).tables, [1, 1, 1], "they hold what awaits a flush");
        cursor.detach(cursor.range()).unwrap();
        cursor.detach(cursor.range()).unwrap();
        cursor.trim();
        assert!(cursor.query(cursor.range().start).is_none());
        let _heap = release(cursor.finish());
        assert_eq!(state(cpu), before);
    });
}

#[test]
fn a_replaced_table_that_waits_is_not_written() {
    with_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 512), HEAP).unwrap();
        let place = at(&heap, 0);
        let table = crate::memory::page_table::entry::Entry::from_bits(raw_entry(cpu, place, 2)).table();
        let entry = raw_entry(cpu, place, 1);
        let promoted = heap.promote::<Size2MiB>(place).unwrap();
        // SAFETY: memory of a test machine.
        let cells = unsafe { crate::memory::page_table::machine::TableMemory::table(&cpu, table) };
        let bits = || cells.each_ref().map(|cell| cell.load(crate::memory::atomic::Ordering::Relaxed));
        for (page, bits) in (0..512).zip(bits()) {
            assert_eq!(bits, entry + page * KIB4);
        }
        #[expect(clippy::forget_non_drop, reason = "that there is nothing to run is the point")]
        core::mem::forget(promoted);
        assert_eq!(state(cpu).audit.frames.retired, 1);
        assert_eq!(state(cpu).audit.outstanding, 1);
    });
}
