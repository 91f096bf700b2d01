//! Single pages by a cursor, which remembers the table that the last one was below.

use super::fixture::*;
use crate::memory::frame::{Frame, FrameBatch, OutOfFrames};
use crate::memory::page_size::{PageSize, Size4KiB};
use crate::memory::page_table::{Error, Mmio, Tracked, VirtRange};
use crate::memory::simulation::RING_0;
use alloc::vec::Vec;

#[test]
fn pages_are_mapped_one_by_one_across_tables_of_all_levels() {
    with_small_machine(|cpu| {
        let before = state(cpu);
        let heap = slot::<Tracked, _>(cpu, 0).join(slot(cpu, 1)).unwrap();
        let mut cursor = heap.cursor();
        let offsets = [0, MIB2 - KIB4, MIB2, GIB - KIB4, GIB, SLOT - KIB4, SLOT, 2 * SLOT - KIB4, KIB4];
        let mut expected = Vec::new();
        for offset in offsets {
            let frame = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
            expected.push((offset, KIB4, frame.start().as_u64()));
            let place = inside(&cursor, offset, KIB4).start;
            assert!(cursor.map_page(place, frame, HEAP).is_ok());
            assert_eq!(cursor.query(place).unwrap().phys.as_u64(), expected.last().unwrap().2);
        }
        expected.sort_unstable();
        let heap = release(cursor.finish());
        assert_eq!(leaves(&heap), expected);
        state(cpu);
        let mut cursor = heap.cursor();
        for offset in offsets.into_iter().rev() {
            cursor.unmap(inside(&cursor, offset, KIB4)).unwrap();
        }
        let heap = release(cursor.finish());
        let _heap = release(heap.trim());
        assert_eq!(state(cpu), before);
    });
}

#[test]
fn a_page_is_refused_as_a_range_is() {
    with_frames(64, RING_0, |cpu, _| {
        let range = reserve::<Tracked, _>(cpu, MIB2);
        let mut cursor = range.cursor();
        let held = FrameBatch::<Size4KiB, _>::allocate(cpu, free(cpu) - 1).unwrap();
        let mut frame = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
        let range = inside(&cursor, 0, KIB4);
        let cause = OutOfFrames { size: Size4KiB::NAME, count: 3, free_frames: 0, promised_frames: 0 };
        let before = state(cpu);
        let (error, back) = refused(cursor.map_page(range.start, frame, HEAP));
        assert_eq!(error, Error::OutOfFrames { range, cause });
        assert_eq!(state(cpu), before);
        drop(held);
        frame = back;
        assert!(cursor.map_page(range.start, frame, HEAP).is_ok());
        let owned = cursor.range();
        let (unaligned, outside) = (inside(&cursor, 1, KIB4), inside(&cursor, MIB2, KIB4));
        let hole = VirtRange::new(crate::memory::address::VirtAddr::new(1 << 47), KIB4);
        for (range, error) in [
            (range, Error::AlreadyMapped { range, at: range.start }),
            (unaligned, Error::Unaligned { range: unaligned, align_bytes: KIB4 }),
            (outside, Error::OutsideRange { range: outside, owned }),
            (hole, Error::NotCanonical { range: hole }),
        ] {
            let frame = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
            let before = state(cpu);
            let (found, back) = refused(cursor.map_page(range.start, frame, HEAP));
            assert_eq!(found, error);
            assert_eq!(state(cpu), before);
            drop(back);
        }
        cursor.unmap(range).unwrap();
        let frame = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
        let before = state(cpu);
        let (error, back) = refused(cursor.map_page(range.start, frame, HEAP));
        assert_eq!(error, Error::AwaitingFlush { range, pending: range });
        assert_eq!(state(cpu), before);
        drop(back);
        let range = release(cursor.finish());
        assert_eq!(leaves(&range), []);
    });
}

#[test]
fn a_page_below_a_table_that_was_taken_out_is_not_touched() {
    with_small_machine(|cpu| {
        let before = state(cpu);
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, 0), device::<Size4KiB, _>(&cpu, 0, 9), UNCACHED).unwrap();
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 9), HEAP).unwrap();
        let (mut devices, mut heap) = (devices.cursor(), heap.cursor());
        for page in [3, 4] {
            devices.unmap(inside(&devices, page * KIB4, KIB4)).unwrap();
            heap.unmap(inside(&heap, page * KIB4, KIB4)).unwrap();
        }
        devices.detach(inside(&devices, 0, GIB)).unwrap();
        heap.detach(inside(&heap, 0, GIB)).unwrap();
        let taken_out = state(cpu);
        let page = inside(&heap, 6 * KIB4, KIB4);
        let entry = raw_entry(cpu, page.start, 1);
        devices.unmap(inside(&devices, 6 * KIB4, KIB4)).unwrap();
        heap.unmap(page).unwrap();
        assert_eq!(raw_entry(cpu, page.start, 1), entry, "hardware may walk there still");
        assert_eq!(state(cpu), taken_out);
        let (devices, heap) = (release(devices.finish()), release(heap.finish()));
        let (_devices, _heap) = (release(devices.trim()), release(heap.trim()));
        assert_eq!(state(cpu), before);
    });
}
