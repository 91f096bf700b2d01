//! Moving mappings from one range of heap to another.

use super::fixture::*;
use crate::memory::address_space::SLOT_MAP;
use crate::memory::frame::{Frame, FrameBatch};
use crate::memory::kind::Kind;
use crate::memory::page_size::{Size2MiB, Size4KiB};
use crate::memory::page_table::attributes::DataAccess;
use crate::memory::page_table::span::canonical;
use crate::memory::page_table::{Detached, Flushed, Moved, Tracked, VaRange, VirtRange, flush};
use crate::memory::simulation::{NoTlb, PVM, RING_0, SimulatedCpu};
use crate::memory::subtree::Subtree;

pub(super) type Cpu<'a> = SimulatedCpu<'a>;
pub(super) type Heap<'a> = VaRange<Tracked, Cpu<'a>>;

/// `len_bytes` bytes of a slot of the heap.
pub(super) fn heap(cpu: Cpu<'_>, number: u64, offset: u64, len_bytes: u64) -> Heap<'_> {
    let first = SLOT_MAP.iter().rfind(|slots| slots.kind == Kind::Tracked).unwrap().first as u64;
    let start = canonical((first + number) * SLOT + offset);
    Subtree::reserve_at(cpu, VirtRange::new(start, len_bytes)).unwrap()
}

pub(super) fn tables(cpu: Cpu<'_>, count: u64) -> FrameBatch<Size4KiB, Cpu<'_>> {
    FrameBatch::allocate(cpu, count).unwrap()
}

pub(super) fn flushed<'a>(detached: Detached<Tracked, Cpu<'a>>) -> Flushed<Detached<Tracked, Cpu<'a>>> {
    flush(detached, &NoTlb::default())
}

/// What [`fill`] fills.
pub(super) const LEN: u64 = 6 * MIB2;

/// As many pages as fill a table; fewer under Miri, to which each takes long.
pub(super) const FULL: u64 = if cfg!(miri) { 9 } else { 512 };

/// Frames of the machine: room for three large leaves beside tables and pages, and for more pages where there is time for them.
pub(super) const FRAMES: usize = if cfg!(miri) { 4 * 512 } else { 4096 };

/// A full table, nothing, a large leaf that is read only, a table with a hole, a large leaf, and a table with one page.
pub(super) fn fill(mut range: Heap<'_>) -> Heap<'_> {
    let cpu = range.machine();
    range.map(at(&range, 0), run::<Size4KiB, _>(cpu, FULL), HEAP).unwrap();
    range.map(at(&range, 2 * MIB2), run::<Size2MiB, _>(cpu, 1), DataAccess::ReadOnly).unwrap();
    range.map(at(&range, 3 * MIB2), run::<Size4KiB, _>(cpu, 5), HEAP).unwrap();
    range.map(at(&range, 3 * MIB2 + 7 * KIB4), run::<Size4KiB, _>(cpu, 2), DataAccess::ReadOnly).unwrap();
    range.map(at(&range, 4 * MIB2), run::<Size2MiB, _>(cpu, 1), HEAP).unwrap();
    range.map(at(&range, 6 * MIB2 - KIB4), run::<Size4KiB, _>(cpu, 1), HEAP).unwrap();
    range
}

/// Each leaf by its offset, with what it allows.
pub(super) fn content(range: &Heap<'_>) -> alloc::vec::Vec<((u64, u64, u64), DataAccess)> {
    leaves(range).into_iter().zip(range.leaves().map(|leaf| leaf.attributes)).collect()
}

/// The tables of the last level below a range, by offset.
fn last_tables(range: &Heap<'_>) -> alloc::vec::Vec<u64> {
    [0, 3, 5].map(|block| raw_entry(range.machine(), at(range, block * MIB2), 2)).to_vec()
}

#[test]
fn leaves_and_tables_move_as_they_are() {
    // Below one table of level 2, and across two.
    let targets = [(1, GIB - 3 * MIB2, 3), (1, 0, 2), (0, GIB - 3 * MIB2, 1)];
    let cases = [PVM, RING_0].into_iter().flat_map(|paging| targets.map(|target| (paging, target)));
    // One takes long enough under Miri.
    for (paging, (number, offset, needed)) in cases.take(if cfg!(miri) { 1 } else { usize::MAX }) {
        with_frames(FRAMES, paging, |cpu, _| {
            let before = state(cpu);
            let source = fill(heap(cpu, 0, 4 * MIB2, LEN));
            let target = heap(cpu, number, offset, LEN);
            let mapped = state(cpu);
            let (expected, moved_tables) = (content(&source), last_tables(&source));
            let old = at(&source, 0);
            let mut tables = tables(cpu, needed + 1);
            let held = tables.count();
            let source = flushed(source.detach_leaf_tables().unwrap());
            let left = free(cpu);
            let Moved { mut source, target } = source.move_to(target, &mut tables).unwrap();
            assert_eq!(free(cpu), left, "nothing is freed or allocated");
            assert_eq!(held - tables.count(), needed);
            assert_eq!(content(&target), expected);
            assert_eq!(last_tables(&target), moved_tables, "they are the same tables, by the same entries");
            assert_eq!((leaves(&source).len(), source.query(old)), (0, None));
            let counts = *state(cpu).audit.kind(Kind::Tracked);
            let counted = mapped.audit.kind(Kind::Tracked);
            assert_eq!(counts.leaves, counted.leaves);
            assert_eq!(counts.tables[0], counted.tables[0]);
            assert_eq!(target.count_leaves().small, FULL + 7 + 1);
            // Both are as good as any other range.
            source.map(old, run::<Size4KiB, _>(cpu, FULL + 3), HEAP).unwrap();
            let (target, freed) = release_counted(target.detach_leaf_tables().unwrap());
            assert_eq!((freed.leaf_frames, freed.tables), (FULL + 7 + 1 + 2 * 512, 3));
            let source = release(source.detach().unwrap());
            drop(tables);
            for range in [source, target] {
                Subtree::give_back(range).unwrap();
            }
            Subtree::<Tracked>::trim(cpu, &NoTlb::default()).unwrap();
            assert_eq!(state(cpu), before);
        });
    }
}

#[test]
fn neighbours_in_the_same_tables_stay_and_what_moved_goes_back_whole() {
    with_frames(FRAMES, RING_0, |cpu, _| {
        let before = state(cpu);
        let mut whole = slot::<Tracked, _>(cpu, 0);
        for offset in [0, 13 * MIB2] {
            whole.map(at(&whole, offset), run::<Size4KiB, _>(cpu, 3), HEAP).unwrap();
        }
        let (first, second) = (part(&whole, MIB2, LEN), part(&whole, 7 * MIB2, LEN));
        let carved = whole.carve(first).unwrap();
        let (below, source) = (carved.below.unwrap(), fill(carved.middle));
        let carved = carved.above.unwrap().carve(second).unwrap();
        let (target, above) = (carved.middle, carved.above.unwrap());
        let expected = content(&source);
        let mut none = FrameBatch::new(cpu);
        let source = flushed(source.detach_leaf_tables().unwrap());
        let Moved { source, target } = source.move_to(target, &mut none).unwrap();
        assert_eq!(content(&target), expected);
        assert_eq!((leaves(&below).len(), leaves(&above).len()), (3, 3));
        state(cpu);
        // And back again.
        let target = flushed(target.detach_leaf_tables().unwrap());
        let Moved { source: target, target: source } = target.move_to(source, &mut none).unwrap();
        assert_eq!((content(&source), content(&target)), (expected, [].to_vec()));
        let whole = below.join(source).unwrap().join(target).unwrap().join(above).unwrap();
        Subtree::give_back(release(whole.detach().unwrap())).unwrap();
        assert_eq!(state(cpu), before);
    });
}

#[test]
fn nothing_moves_where_nothing_was_taken_out_and_what_was_replaced_is_freed() {
    with_frames(FRAMES, RING_0, |cpu, _| {
        let mut none = FrameBatch::new(cpu);
        let source = flushed(heap(cpu, 0, 0, MIB2).detach_leaf_tables().unwrap());
        let Moved { mut source, target } = source.move_to(heap(cpu, 1, 0, MIB2), &mut none).unwrap();
        let large = Frame::<Size2MiB, _>::allocate(cpu).unwrap();
        let phys = large.start();
        source.map(at(&source, 0), large, HEAP).unwrap();
        let start = at(&source, 0);
        let mut cursor = source.cursor();
        cursor.split::<Size2MiB>(start).unwrap();
        cursor.promote::<Size2MiB>(start).unwrap();
        cursor.detach_leaf_tables(cursor.range()).unwrap();
        let mut tables = tables(cpu, 2);
        let before = free(cpu);
        let Moved { source, target } = flushed(cursor.finish()).move_to(target, &mut tables).unwrap();
        assert_eq!((free(cpu), tables.count()), (before + 1, 0));
        assert_eq!(leaves(&target), [(0, MIB2, phys.as_u64())]);
        drop((source, target));
        assert_eq!(state(cpu).audit.outstanding, 0);
    });
}
