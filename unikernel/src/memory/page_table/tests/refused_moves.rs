//! Moves that are refused: both ranges stay as they were, and the source is released as ever.

use super::fixture::*;
use super::relocation::{Cpu, FRAMES, FULL, Heap, LEN, content, fill, flushed, heap, tables};
use crate::memory::frame::{FrameBatch, OutOfFrames};
use crate::memory::page_size::{PageSize, Size2MiB, Size4KiB};
use crate::memory::page_table::{Detached, Error, Flushed, Moved, Tracked};
use crate::memory::simulation::RING_0;

/// Tries to move, and looks that nothing changed.
fn is_refused<'a>(
    source: Flushed<Detached<Tracked, Cpu<'a>>>,
    target: Heap<'a>,
    tables: &mut FrameBatch<Size4KiB, Cpu<'a>>,
    expected: Error,
) -> (Flushed<Detached<Tracked, Cpu<'a>>>, Heap<'a>) {
    let cpu = target.machine();
    // The whole state takes too long under Miri.
    let look = || if cfg!(miri) { Err(free(cpu)) } else { Ok(state(cpu)) };
    let (before, count) = (look(), tables.count());
    let (error, both) = refused(source.move_to(target, tables));
    assert_eq!(error, expected);
    assert_eq!((look(), tables.count()), (before, count), "{expected}");
    both
}

#[test]
fn too_few_frames_for_the_tables_above_change_nothing() {
    with_frames(FRAMES, RING_0, |cpu, _| {
        let source = fill(heap(cpu, 0, 0, LEN));
        let expected = content(&source);
        // Two tables of level 3, and two of level 2.
        let two = slot::<Tracked, _>(cpu, 1).join(slot(cpu, 2)).unwrap();
        let middle = part(&two, SLOT - 3 * MIB2, LEN);
        let mut target = two.carve(middle).unwrap().middle;
        let mut source = flushed(source.detach_leaf_tables().unwrap());
        for brought in 0..4 {
            let mut tables = tables(cpu, brought);
            let cause =
                OutOfFrames { size: Size4KiB::NAME, count: 4, free_frames: brought, promised_frames: 0 };
            let error = Error::OutOfFrames { range: target.range(), cause };
            (source, target) = is_refused(source, target, &mut tables, error);
        }
        let mut tables = tables(cpu, 4);
        let held = FrameBatch::<Size4KiB, _>::allocate(cpu, free(cpu)).unwrap();
        let Moved { source, target } = source.move_to(target, &mut tables).unwrap();
        assert_eq!((tables.count(), content(&target)), (0, expected));
        drop((held, source));
        state(cpu);
    });
}

#[test]
fn what_is_in_the_way_in_the_target_is_refused() {
    with_frames(FRAMES, RING_0, |cpu, _| {
        let source = fill(heap(cpu, 0, 0, LEN));
        let mut target = heap(cpu, 1, GIB, LEN);
        // Where nothing moves to, something may be.
        target.map(at(&target, MIB2), run::<Size4KiB, _>(cpu, 1), HEAP).unwrap();
        target.map(at(&target, 4 * MIB2 + KIB4), run::<Size4KiB, _>(cpu, 1), HEAP).unwrap();
        let mut none = FrameBatch::new(cpu);
        let source = flushed(source.detach_leaf_tables().unwrap());
        let range = target.range();
        let taken = at(&target, 4 * MIB2 + KIB4);
        let error = Error::AlreadyMapped { range, at: taken };
        let (source, target) = is_refused(source, target, &mut none, error);
        let mut cursor = target.cursor();
        cursor.unmap(inside(&cursor, 4 * MIB2, MIB2)).unwrap();
        let target = release(cursor.finish());
        let error = Error::TableKept { range, at: at(&target, 4 * MIB2) };
        let (source, target) = is_refused(source, target, &mut none, error);
        let mut cursor = target.cursor();
        cursor.trim();
        let mut target = release(cursor.finish());
        target.map(at(&target, 0), run::<Size2MiB, _>(cpu, 1), HEAP).unwrap();
        let error = Error::AlreadyMapped { range, at: range.start };
        let (source, target) = is_refused(source, target, &mut none, error);
        let mut cursor = target.cursor();
        cursor.unmap(inside(&cursor, 0, MIB2)).unwrap();
        let target = release(cursor.finish());
        let Moved { source, target } = source.move_to(target, &mut none).unwrap();
        assert_eq!(target.count_leaves().small, FULL + 7 + 1 + 1);
        drop((source, target));
        state(cpu);
    });
}

#[test]
fn ranges_that_do_not_fit_each_other_are_refused() {
    with_frames(FRAMES, RING_0, |cpu, _| {
        let mut tables = tables(cpu, 8);
        let source = fill(heap(cpu, 0, 0, LEN));
        let owned = source.range();
        let mut source = flushed(source.detach_leaf_tables().unwrap());
        let mut rest = slot::<Tracked, _>(cpu, 1);
        for (offset, len_bytes) in [(KIB4, LEN), (0, LEN + KIB4), (0, LEN - MIB2), (0, LEN + MIB2)] {
            let range = part(&rest, offset, len_bytes);
            let carved = rest.carve(range).unwrap();
            let error = if offset + len_bytes % MIB2 > 0 {
                Error::Unaligned { range, align_bytes: MIB2 }
            } else {
                Error::OtherLength { range, source: owned }
            };
            let (back, middle) = is_refused(source, carved.middle, &mut tables, error);
            source = back;
            rest = match carved.below {
                Some(below) => below.join(middle).unwrap().join(carved.above.unwrap()).unwrap(),
                None => middle.join(carved.above.unwrap()).unwrap(),
            };
        }
        let (_, freed) = source.release_counted();
        assert_eq!(freed.tables, 3, "what was refused is released as ever");
        let mut odd = heap(cpu, 3, KIB4, MIB2);
        odd.map(at(&odd, 0), run::<Size4KiB, _>(cpu, 1), HEAP).unwrap();
        let range = odd.range();
        let odd = flushed(odd.unmap().unwrap());
        let error = Error::Unaligned { range, align_bytes: MIB2 };
        let (_odd, _target) = is_refused(odd, heap(cpu, 4, 0, MIB2), &mut tables, error);
    });
}

#[test]
fn what_was_taken_out_by_other_entries_is_refused() {
    with_frames(FRAMES, RING_0, |cpu, _| {
        let mut tables = tables(cpu, 8);
        let mut target = heap(cpu, 1, 0, GIB);
        for case in 0..3 {
            let mut source = heap(cpu, 2 + case, 0, GIB);
            source.map(at(&source, 0), run::<Size4KiB, _>(cpu, 3), HEAP).unwrap();
            let range = source.range();
            let mut cursor = source.cursor();
            let page = inside(&cursor, KIB4, KIB4);
            match case {
                0 => cursor.unmap(page).unwrap(),
                1 => {
                    cursor.unmap(page).unwrap();
                    cursor.detach_leaf_tables(range).unwrap();
                }
                _ => cursor.detach(range).unwrap(),
            }
            let source = flushed(cursor.finish());
            let error = Error::NotMovable { range };
            let (source, back) = is_refused(source, target, &mut tables, error);
            target = back;
            let (_source, freed) = source.release_counted();
            assert_eq!(freed.leaf_frames, [1, 3, 3][case as usize]);
        }
    });
}

#[test]
fn another_machine_is_refused() {
    with_frames(64, RING_0, |other, _| {
        with_frames(64, RING_0, |cpu, _| {
            let mut source = heap(cpu, 0, 0, MIB2);
            source.map(at(&source, 0), run::<Size4KiB, _>(cpu, 1), HEAP).unwrap();
            let source = flushed(source.detach_leaf_tables().unwrap());
            let target = heap(other, 1, 0, MIB2);
            let error = Error::ForeignBacking { range: target.range() };
            let (source, _) = is_refused(source, target, &mut tables(other, 2), error);
            let target = heap(cpu, 1, 0, MIB2);
            let error = Error::ForeignBacking { range: target.range() };
            let (source, target) = is_refused(source, target, &mut tables(other, 2), error);
            let Moved { target, .. } = source.move_to(target, &mut tables(cpu, 2)).unwrap();
            assert_eq!(leaves(&target).len(), 1);
            state(cpu);
        });
    });
}
