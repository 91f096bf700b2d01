//! What a release says that it freed, against the frames that are free before and after.

use super::fixture::*;
use crate::memory::page_size::{Size2MiB, Size4KiB};
use crate::memory::page_table::{Detached, Kva, Mmio, Ownership, Released, Tracked, VaRange, flush};
use crate::memory::simulation::{NoTlb, RING_0, SimulatedCpu};

/// Releases, and compares what it says with what is free.
fn freed<'a, O: Ownership>(
    cpu: SimulatedCpu<'a>,
    detached: Detached<O, SimulatedCpu<'a>>,
) -> (VaRange<O, SimulatedCpu<'a>>, Released) {
    let before = free(cpu);
    let (range, released) = release_counted(detached);
    assert_eq!(free(cpu) - before, released.leaf_frames + released.tables, "{released:?}");
    state(cpu);
    (range, released)
}

#[test]
fn single_leaves_and_whole_subtrees_are_counted() {
    with_frames(4096, RING_0, |cpu, _| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 5), HEAP).unwrap();
        heap.map(at(&heap, MIB2), run::<Size2MiB, _>(cpu, 2), HEAP).unwrap();
        heap.map(at(&heap, GIB - 3 * KIB4), run::<Size4KiB, _>(cpu, 600), HEAP).unwrap();
        // Every other page, so that no two freed ones lie side by side.
        let mut cursor = heap.cursor();
        for page in [0, 2, 4] {
            cursor.unmap(inside(&cursor, page * KIB4, KIB4)).unwrap();
        }
        let (heap, released) = freed(cpu, cursor.finish());
        assert_eq!(released, Released { leaf_frames: 3, tables: 0 });
        let mut cursor = heap.cursor();
        cursor.unmap(inside(&cursor, MIB2, MIB2)).unwrap();
        let (heap, released) = freed(cpu, cursor.finish());
        assert_eq!(released, Released { leaf_frames: 512, tables: 0 });
        let (heap, released) = freed(cpu, heap.detach().unwrap());
        assert_eq!(released, Released { leaf_frames: 2 + 512 + 600, tables: 1 + 2 + 4 });
        let (heap, released) = freed(cpu, heap.trim());
        assert_eq!(released, Released::default());
        drop(heap);
    });
}

#[test]
fn leaves_that_own_nothing_count_nothing_and_their_tables_do() {
    with_machine(|cpu| {
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, 0), device::<Size4KiB, _>(&cpu, 0, 513), UNCACHED).unwrap();
        let mut cursor = devices.cursor();
        cursor.unmap(cursor.range()).unwrap();
        let (devices, released) = freed(cpu, cursor.finish());
        assert_eq!(released, Released::default());
        let (devices, released) = freed(cpu, devices.trim());
        assert_eq!(released, Released { leaf_frames: 0, tables: 4 });
        drop(devices);
        let mut kernel = slot::<Kva, _>(cpu, 0);
        let shown = window::<Size4KiB, _>(&cpu, crate::memory::address::PhysAddr::new(0), 512);
        kernel.map(at(&kernel, 0), shown, KERNEL).unwrap();
        let (kernel, released) = freed(cpu, kernel.detach_leaf_tables().unwrap());
        assert_eq!(released, Released { leaf_frames: 0, tables: 1 });
        drop(kernel);
    });
}

#[test]
fn a_table_that_a_promotion_replaced_counts_and_its_leaves_do_not() {
    with_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size2MiB, _>(cpu, 1), HEAP).unwrap();
        let start = at(&heap, 0);
        let (heap, released) = freed(cpu, heap.split::<Size2MiB>(start).unwrap());
        assert_eq!(released, Released::default());
        let mut cursor = heap.cursor();
        cursor.promote::<Size2MiB>(start).unwrap();
        let (heap, released) = freed(cpu, cursor.finish());
        assert_eq!(released, Released { leaf_frames: 0, tables: 1 });
        let mut cursor = heap.cursor();
        cursor.split::<Size2MiB>(start).unwrap();
        cursor.promote::<Size2MiB>(start).unwrap();
        cursor.unmap(inside(&cursor, 0, MIB2)).unwrap();
        let (heap, released) = freed(cpu, cursor.finish());
        assert_eq!(released, Released { leaf_frames: 512, tables: 1 });
        drop(heap);
    });
}

#[test]
fn a_frame_that_was_taken_out_is_not_counted() {
    with_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 3), HEAP).unwrap();
        let second = at(&heap, KIB4);
        let detached = heap.unmap().unwrap();
        let mut flushed = flush(detached, &NoTlb::default());
        let frame = flushed.take_frame::<Size4KiB>(second).unwrap();
        let before = free(cpu);
        let (_heap, released) = flushed.release_counted();
        assert_eq!(released, Released { leaf_frames: 2, tables: 0 });
        assert_eq!(free(cpu), before + 2);
        drop(frame);
        state(cpu);
    });
}

#[cfg(not(miri))]
#[test]
fn a_gib_counts_by_its_frames_in_each_size_of_leaf() {
    use crate::memory::page_size::Size1GiB;
    with_a_gib(RING_0, |cpu, _| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 3 * GIB), run::<Size1GiB, _>(cpu, 1), HEAP).unwrap();
        let (mut heap, released) = freed(cpu, heap.unmap().unwrap());
        assert_eq!(released, Released { leaf_frames: GIB / KIB4, tables: 0 });
        heap.map(at(&heap, GIB), run::<Size4KiB, _>(cpu, 512 * 300), HEAP).unwrap();
        heap.map(at(&heap, 2 * GIB), run::<Size2MiB, _>(cpu, 100), HEAP).unwrap();
        let (heap, released) = freed(cpu, heap.detach().unwrap());
        assert_eq!(released, Released { leaf_frames: 512 * 400, tables: 1 + 2 + 300 });
        drop(heap);
    });
}
