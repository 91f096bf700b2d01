//! Each operation by itself.

use super::fixture::*;
use crate::memory::address::VirtAddr;
use crate::memory::frame::FrameBatch;
use crate::memory::page_size::{Size1GiB, Size2MiB, Size4KiB};
use crate::memory::page_table::{Mmio, Tracked, VirtRange};
use crate::memory::subtree::Subtree;
use alloc::vec::Vec;

#[test]
fn heap_pages_are_mapped_found_unmapped_and_given_back() {
    with_machine(|cpu| {
        let before = free(cpu);
        let mut range = reserve::<Tracked, _>(cpu, 4 * MIB2);
        let frames = run::<Size4KiB, _>(cpu, 600);
        let start = frames.start().as_u64();
        let place = at(&range, 100 * KIB4);
        range.map(place, frames, HEAP).unwrap();
        for page in 0..600 {
            let found = range.query(at(&range, (100 + page) * KIB4 + 5)).unwrap();
            assert_eq!(found.phys.as_u64(), start + page * KIB4);
            assert_eq!(found.range, part(&range, (100 + page) * KIB4, KIB4));
            assert_eq!(found.attributes, HEAP);
        }
        assert_eq!(range.leaves().count(), 600);
        assert!(range.query(at(&range, 99 * KIB4)).is_none());
        assert!(range.query(at(&range, 700 * KIB4)).is_none());
        assert_eq!(
            free(cpu),
            before - 600 - 4,
            "the frames, two tables of level 1, one each of levels 2 and 3"
        );
        let detached = range.unmap().unwrap();
        assert_eq!(free(cpu), before - 604, "nothing is free before the flush");
        let range = release(detached);
        assert_eq!(free(cpu), before - 4);
        assert_eq!(range.leaves().count(), 0);
        let range = release(range.trim());
        assert_eq!(free(cpu), before - 2, "the tables of levels 3 and 2 reach beyond the range");
        Subtree::give_back(range).unwrap();
        let all = Subtree::<Tracked>::reserve_longest(cpu).unwrap();
        let all = release(all.trim());
        assert_eq!(free(cpu), before);
        Subtree::give_back(all).unwrap();
    });
}

#[test]
fn device_registers_are_mapped_and_unmapped_and_no_frame_moves_but_those_of_tables() {
    with_small_machine(|cpu| {
        let before = free(cpu);
        let mut range = reserve::<Mmio, _>(cpu, 2 * MIB2);
        let place = at(&range, 0);
        range.map(place, device::<Size4KiB, _>(&cpu, 0, 512), UNCACHED).unwrap();
        let place = at(&range, MIB2);
        range.map(place, device::<Size2MiB, _>(&cpu, MIB2, 1), UNCACHED).unwrap();
        assert_eq!(free(cpu), before - 3);
        assert_eq!(range.leaves().count(), 513);
        let range = release(range.detach().unwrap());
        assert_eq!(free(cpu), before - 2, "the full table of level 1 went back, and nothing that it led to");
        assert_eq!(range.leaves().count(), 0);
    });
}

#[test]
fn leaves_of_all_sizes_are_found_in_order() {
    with_small_machine(|cpu| {
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, 511 * KIB4), device::<Size4KiB, _>(&cpu, 0, 2), UNCACHED).unwrap();
        devices.map(at(&devices, 5 * MIB2), device::<Size2MiB, _>(&cpu, 4 * MIB2, 2), UNCACHED).unwrap();
        devices.map(at(&devices, GIB), device::<Size1GiB, _>(&cpu, GIB, 1), UNCACHED).unwrap();
        devices.map(at(&devices, SLOT - KIB4), device::<Size4KiB, _>(&cpu, 0, 1), UNCACHED).unwrap();
        let expected = [
            (511 * KIB4, KIB4, DEVICE),
            (512 * KIB4, KIB4, DEVICE + KIB4),
            (5 * MIB2, MIB2, DEVICE + 4 * MIB2),
            (6 * MIB2, MIB2, DEVICE + 5 * MIB2),
            (GIB, GIB, DEVICE + GIB),
            (SLOT - KIB4, KIB4, DEVICE),
        ];
        assert_eq!(leaves(&devices), expected);
        for (offset, len_bytes, phys) in expected {
            for inside in [0, 1, len_bytes - 1] {
                let found = devices.query(at(&devices, offset + inside)).unwrap();
                assert_eq!(found.range, part(&devices, offset, len_bytes));
                assert_eq!((found.phys.as_u64(), found.attributes), (phys, UNCACHED));
            }
        }
        for nothing in
            [0, 511 * KIB4 - 1, 513 * KIB4, 5 * MIB2 - 1, 7 * MIB2, GIB - 1, 2 * GIB, SLOT - KIB4 - 1]
        {
            assert!(devices.query(at(&devices, nothing)).is_none(), "{nothing:#x}");
        }
        let behind = VirtAddr::new(devices.range().start.as_u64().wrapping_add(SLOT));
        assert!(devices.query(behind).is_none());
        assert!(devices.query(VirtAddr::new(1 << 47)).is_none(), "not canonical");
    });
}

#[test]
fn frames_in_pieces_are_mapped_in_their_order() {
    with_machine(|cpu| {
        let before = state(cpu);
        let mut batch = FrameBatch::<Size4KiB, _>::new(cpu);
        let mut expected = Vec::new();
        let (first, rest) = run::<Size4KiB, _>(cpu, 511).split_at(200).unwrap();
        let (hole, third) = rest.split_at(1).unwrap();
        for piece in [third, first, run(cpu, 300), run(cpu, 1)] {
            expected.extend((0..piece.count()).map(|frame| piece.start().as_u64() + frame * KIB4));
            batch.push(piece).unwrap();
        }
        assert_eq!(expected.len(), 811);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, GIB - 100 * KIB4), batch, HEAP).unwrap();
        let found: Vec<u64> = leaves(&heap).into_iter().map(|(_, _, phys)| phys).collect();
        assert_eq!(found, expected);
        assert_eq!(state(cpu).audit.frames.held, 1, "the hole");
        drop(hole);
        let heap = release(heap.detach().unwrap());
        assert_eq!(state(cpu), before);
        drop(heap);
    });
}

#[test]
fn kept_tables_serve_the_next_mapping() {
    with_small_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 500 * KIB4), run::<Size4KiB, _>(cpu, 30), HEAP).unwrap();
        let heap = release(heap.unmap().unwrap());
        let kept = state(cpu);
        assert_eq!(kept.audit.kinds[0].tables, [2, 1, 1]);
        assert_eq!(kept.audit.kinds[0].leaves, [0; 3]);
        let mut heap = heap;
        let frames = run::<Size4KiB, _>(cpu, 40);
        let without = free(cpu);
        heap.map(at(&heap, 490 * KIB4), frames, HEAP).unwrap();
        assert_eq!(free(cpu), without, "no table was needed");
        assert_eq!(leaves(&heap).len(), 40);
        let heap = release(heap.unmap().unwrap());
        assert_eq!(state(cpu), kept);
        drop(heap);
    });
}

#[test]
fn trim_takes_nested_empty_tables_at_once_and_leaves_those_in_use() {
    with_small_machine(|cpu| {
        let before = state(cpu);
        let mut devices = slot::<Mmio, _>(cpu, 0);
        for offset in [0, MIB2, GIB, GIB + 3 * MIB2] {
            devices.map(at(&devices, offset), device::<Size4KiB, _>(&cpu, 0, 1), UNCACHED).unwrap();
        }
        let mut cursor = devices.cursor();
        for offset in [0, GIB, GIB + 3 * MIB2] {
            cursor.unmap(inside(&cursor, offset, KIB4)).unwrap();
        }
        let devices = release(cursor.finish());
        assert_eq!(state(cpu).audit.kinds[1].tables, [4, 2, 1]);
        let trimmed = devices.trim();
        let audit = state(cpu).audit;
        assert_eq!(audit.kinds[1].tables, [1, 1, 1]);
        assert_eq!(audit.kinds[1].detached_tables, [3, 1, 0]);
        let hull = VirtRange::new(trimmed.range().start, 2 * GIB);
        assert_eq!(trimmed.flush_range(), Some(hull), "from the first table to the end of the GiB");
        let devices = release(trimmed);
        assert_eq!(leaves(&devices), [(MIB2, KIB4, DEVICE)]);
        assert_eq!(state(cpu).audit.frames.tables, before.audit.frames.tables + 3);
        let trimmed = devices.trim();
        assert_eq!(trimmed.flush_range(), None, "nothing more to take");
        let devices = release(release(trimmed).unmap().unwrap());
        let devices = release(devices.trim());
        assert_eq!(state(cpu), before);
        drop(devices);
    });
}

#[test]
fn what_is_mapped_ends_where_it_should_at_the_edges_of_tables() {
    with_small_machine(|cpu| {
        let mut devices = slot::<Mmio, _>(cpu, 0);
        for (start, count) in [(510, 2), (512, 1), (514, 510), (1024, 513)] {
            let place = at(&devices, start * KIB4);
            devices.map(place, device::<Size4KiB, _>(&cpu, start * KIB4, count), UNCACHED).unwrap();
        }
        let pages: Vec<u64> = leaves(&devices).into_iter().map(|(offset, ..)| offset / KIB4).collect();
        let expected: Vec<u64> = (510..513).chain(514..1537).collect();
        assert_eq!(pages, expected);
        for (_, _, phys) in leaves(&devices) {
            assert!((510..1537).contains(&((phys - DEVICE) / KIB4)));
        }
        let mut cursor = devices.cursor();
        cursor.unmap(inside(&cursor, 511 * KIB4, 513 * KIB4)).unwrap();
        let devices = release(cursor.finish());
        let pages: Vec<u64> = leaves(&devices).into_iter().map(|(offset, ..)| offset / KIB4).collect();
        let expected: Vec<u64> = (510..511).chain(1024..1537).collect();
        assert_eq!(pages, expected);
        state(cpu);
    });
}

#[test]
fn a_large_leaf_is_unmapped_whole() {
    with_machine(|cpu| {
        let before = state(cpu);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size2MiB, _>(cpu, 2), HEAP).unwrap();
        let middle = part(&heap, 0, MIB2);
        let carved = heap.carve(middle).unwrap();
        let first = release(carved.middle.unmap().unwrap());
        assert_eq!(free(cpu), before.audit.frames.free - 512 - 2);
        let heap = first.join(carved.above.unwrap()).unwrap();
        assert_eq!(leaves(&heap).len(), 1);
        let heap = release(heap.unmap().unwrap());
        let heap = release(heap.trim());
        assert_eq!(state(cpu), before);
        drop(heap);
    });
}

#[test]
fn a_full_table_of_device_registers_is_emptied_and_kept() {
    with_small_machine(|cpu| {
        let before = state(cpu);
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, 0), device::<Size4KiB, _>(&cpu, 0, 513), UNCACHED).unwrap();
        let devices = release(devices.unmap().unwrap());
        assert_eq!(state(cpu).audit.kinds[1].tables, [2, 1, 1]);
        let _devices = release(devices.trim());
        assert_eq!(state(cpu), before);
    });
}
