//! Taking out whole tables of the last level, and no others.

use super::fixture::*;
use crate::memory::address_space::Placed;
use crate::memory::kind::Kind;
use crate::memory::page_size::{Size1GiB, Size2MiB, Size4KiB};
use crate::memory::page_table::{Cursor, Error, Kva, Mmio, Tracked};
use crate::memory::simulation::{PVM, RING_0, SimulatedCpu};
use crate::memory::subtree::Subtree;

type Cpu<'a> = SimulatedCpu<'a>;

const PRESENT: u64 = 1;

#[test]
fn whole_tables_go_by_one_store_and_those_above_stay() {
    // Under Miri once is long enough.
    for paging in [PVM, RING_0].into_iter().take(if cfg!(miri) { 1 } else { 2 }) {
        with_frames(2048, paging, |cpu, _| {
            let before = state(cpu);
            let mut heap = slot::<Tracked, _>(cpu, 0);
            // Half a table, a whole one with holes, one of 2 MiB, and half a table again.
            heap.map(at(&heap, MIB2 - 2 * KIB4), run::<Size4KiB, _>(cpu, 4), HEAP).unwrap();
            heap.map(at(&heap, 2 * MIB2), run::<Size2MiB, _>(cpu, 1), HEAP).unwrap();
            heap.map(at(&heap, 3 * MIB2), run::<Size4KiB, _>(cpu, 512), HEAP).unwrap();
            heap.map(at(&heap, 4 * MIB2 + 5 * KIB4), run::<Size4KiB, _>(cpu, 2), HEAP).unwrap();
            let mapped = state(cpu).audit;
            let mut cursor = heap.cursor();
            let range = inside(&cursor, MIB2 - KIB4, 3 * MIB2 + 7 * KIB4);
            cursor.detach_leaf_tables(range).unwrap();
            let detached = cursor.finish();
            let waiting = state(cpu).audit;
            assert_eq!(waiting.frames, mapped.frames, "nothing is freed before the flush");
            let counts = waiting.kind(Kind::Tracked);
            assert_eq!((counts.tables, counts.detached_tables), ([2, 1, 1], [2, 0, 0]));
            assert_eq!((counts.leaves, counts.detached_leaves), ([2, 0, 0], [1 + 2 + 512 + 1, 1, 0]));
            let (heap, released) = release_counted(detached);
            assert_eq!((released.leaf_frames, released.tables), (1 + 2 + 512 + 512 + 1, 2));
            assert_eq!(leaves(&heap).len(), 2);
            let counts = *state(cpu).audit.kind(Kind::Tracked);
            assert_eq!(counts.tables, [2, 1, 1], "those at the edges and those above are kept");
            let heap = release(heap.unmap().unwrap());
            Subtree::give_back(release(heap.trim())).unwrap();
            assert_eq!(state(cpu), before);
        });
    }
}

/// Takes all of a slot with a full table at its start and 2 GiB of addresses behind out; tables above stay.
fn keeps_what_is_above<O: Placed>(cpu: Cpu<'_>, range: crate::memory::page_table::VaRange<O, Cpu<'_>>) {
    let start = range.range().start;
    let range = release(range.detach_leaf_tables().unwrap());
    let counts = *state(cpu).audit.kind(O::KIND);
    assert_eq!((counts.tables, counts.leaves), ([0, 1, 1], [0; 3]));
    assert_eq!(raw_entry(cpu, start, 2), 0);
    assert_ne!(raw_entry(cpu, start, 3) & PRESENT, 0);
    Subtree::give_back(release(range.trim())).unwrap();
}

#[test]
fn all_kinds_keep_the_tables_above_the_last_level() {
    with_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        let frames = run::<Size4KiB, _>(cpu, 512);
        let start = frames.start();
        heap.map(at(&heap, 0), frames, HEAP).unwrap();
        let with_heap = state(cpu);
        let mut kernel = slot::<Kva, _>(cpu, 0);
        kernel.map(at(&kernel, 0), window::<Size4KiB, _>(&cpu, start, 512), KERNEL).unwrap();
        kernel.map(at(&kernel, MIB2), window::<Size2MiB, _>(&cpu, start, 1), KERNEL).unwrap();
        keeps_what_is_above(cpu, kernel);
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, 0), device::<Size4KiB, _>(&cpu, 0, 600), UNCACHED).unwrap();
        devices.map(at(&devices, GIB), device::<Size1GiB, _>(&cpu, 0, 2), UNCACHED).unwrap();
        keeps_what_is_above(cpu, devices);
        assert_eq!(state(cpu), with_heap, "the windows owned nothing");
        keeps_what_is_above(cpu, heap);
    });
}

#[test]
fn a_table_with_pages_that_were_taken_out_before_goes_with_them() {
    with_machine(|cpu| {
        let before = state(cpu);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 3), HEAP).unwrap();
        let mut cursor = heap.cursor();
        cursor.unmap(inside(&cursor, KIB4, KIB4)).unwrap();
        cursor.detach_leaf_tables(cursor.range()).unwrap();
        assert_eq!(cursor.query(inside(&cursor, 0, KIB4).start), None);
        let (heap, released) = release_counted(cursor.finish());
        assert_eq!((released.leaf_frames, released.tables), (3, 1));
        Subtree::give_back(release(heap.trim())).unwrap();
        assert_eq!(state(cpu), before);
    });
}

#[test]
fn a_cursor_maps_single_pages_again_after_the_flush_below_the_tables_that_stayed() {
    with_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 2), HEAP).unwrap();
        let page = || crate::memory::frame::Frame::allocate(cpu).unwrap();
        let mut cursor = heap.cursor();
        let third = inside(&cursor, 2 * KIB4, KIB4);
        cursor.map_page(third.start, page(), HEAP).unwrap();
        cursor.detach_leaf_tables(inside(&cursor, 0, MIB2)).unwrap();
        let (error, _) = refused(cursor.map_page(third.start, page(), HEAP));
        assert!(matches!(error, Error::AwaitingFlush { .. }), "{error:?}");
        cursor.unmap(third).unwrap();
        let held = free(cpu);
        let mut cursor: Cursor<Tracked, _> = release(cursor.finish()).cursor();
        assert_eq!(free(cpu), held + 3 + 1);
        cursor.map_page(third.start, page(), HEAP).unwrap();
        assert_eq!(free(cpu), held + 3 + 1 - 2, "the page and one table");
        let _heap = release(cursor.finish());
        state(cpu);
    });
}

#[test]
fn a_large_leaf_that_an_edge_cuts_is_refused_and_nothing_changes() {
    with_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 512), HEAP).unwrap();
        heap.map(at(&heap, MIB2), run::<Size2MiB, _>(cpu, 1), HEAP).unwrap();
        let before = state(cpu);
        let cut = part(&heap, 0, MIB2 + KIB4);
        let leaf = part(&heap, MIB2, MIB2);
        let carved = heap.carve(cut).unwrap();
        let (error, middle) = refused(carved.middle.detach_leaf_tables());
        assert_eq!(error, Error::CutsLeaf { range: cut, leaf });
        assert_eq!(state(cpu), before);
        drop((middle, carved.above));
    });
}
