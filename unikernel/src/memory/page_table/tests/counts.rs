//! Counting leaves: the same as walking over them, and quicker.

use super::fixture::*;
use crate::memory::atomic::Ordering;
use crate::memory::frame::FrameSource;
use crate::memory::page_size::{Size1GiB, Size2MiB, Size4KiB};
use crate::memory::page_table::entry::Entry;
use crate::memory::page_table::{LeafCounts, Machine, Mmio, Ownership, Tracked, VaRange};
use crate::memory::simulation::{PVM, RING_0};

/// What a range has, by its walk.
fn walked<O: Ownership, M: Machine>(range: &VaRange<O, M>) -> LeafCounts {
    let count = |size| range.leaves().filter(|leaf| leaf.range.len_bytes == size).count() as u64;
    LeafCounts { small: count(KIB4), large: count(MIB2), huge: count(GIB) }
}

#[test]
fn leaves_of_all_sizes_are_counted_in_the_range_and_in_each_piece_of_it() {
    with_frames(2048, RING_0, |cpu, _| {
        let mut devices = slot::<Mmio, _>(cpu, 0);
        assert_eq!(devices.count_leaves(), LeafCounts::default());
        devices.map(at(&devices, MIB2 - 3 * KIB4), device::<Size4KiB, _>(&cpu, 0, 600), UNCACHED).unwrap();
        devices.map(at(&devices, 3 * MIB2), device::<Size2MiB, _>(&cpu, 0, 3), UNCACHED).unwrap();
        devices.map(at(&devices, GIB), device::<Size1GiB, _>(&cpu, 0, 2), UNCACHED).unwrap();
        assert_eq!(devices.count_leaves(), LeafCounts { small: 600, large: 3, huge: 2 });
        // Pieces that cut tables, and leaves.
        for (offset, len_bytes) in [
            (MIB2 - KIB4, KIB4),
            (MIB2 - KIB4, MIB2),
            (MIB2, MIB2),
            (2 * MIB2, 2 * MIB2 + KIB4),
            (4 * MIB2 + KIB4, KIB4),
            (0, GIB),
            (0, GIB + KIB4),
            (GIB + MIB2, 8 * GIB),
        ] {
            let middle = part(&devices, offset, len_bytes);
            let carved = devices.carve(middle).unwrap();
            let pieces = [carved.below, Some(carved.middle), carved.above].into_iter().flatten();
            devices = pieces
                .inspect(|piece| assert_eq!(piece.count_leaves(), walked(piece), "{piece:?}"))
                .reduce(|first, second| first.join(second).unwrap())
                .unwrap();
        }
        assert_eq!(walked(&devices), LeafCounts { small: 600, large: 3, huge: 2 });
    });
}

#[test]
fn what_is_taken_out_is_gone_from_the_count_after_the_flush() {
    for paging in [RING_0, PVM] {
        with_frames(2048, paging, |cpu, _| {
            let mut heap = slot::<Tracked, _>(cpu, 0);
            heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 512), HEAP).unwrap();
            heap.map(at(&heap, MIB2), run::<Size2MiB, _>(cpu, 1), HEAP).unwrap();
            let mut cursor = heap.cursor();
            cursor.unmap(inside(&cursor, 3 * KIB4, KIB4)).unwrap();
            cursor.unmap(inside(&cursor, MIB2, MIB2)).unwrap();
            let heap = release(cursor.finish());
            assert_eq!(heap.count_leaves(), LeafCounts { small: 511, large: 0, huge: 0 });
            let heap = release(heap.unmap().unwrap());
            assert_eq!(heap.count_leaves(), LeafCounts::default());
        });
    }
}

#[test]
fn a_whole_table_is_counted_without_a_look_at_its_entries() {
    with_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 512), HEAP).unwrap();
        let table = Entry::from_bits(raw_entry(cpu, at(&heap, 0), 2)).table();
        let word = cpu.frames().word(table.frame_number());
        let counted = word.swap(77, Ordering::Relaxed);
        assert_eq!(heap.count_leaves().small, 77);
        word.store(counted, Ordering::Relaxed);
        assert_eq!(heap.count_leaves().small, 512);
        state(cpu);
    });
}
