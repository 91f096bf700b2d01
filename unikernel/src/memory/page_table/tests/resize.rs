//! Splitting and promoting, in place.

use super::fixture::*;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::address_space::Placed;
use crate::memory::atomic::Ordering;
use crate::memory::frame::FrameBatch;
use crate::memory::kind::Kind;
use crate::memory::page_size::{Size1GiB, Size2MiB, Size4KiB};
use crate::memory::page_table::attributes::{DataAccess, KernelAccess};
use crate::memory::page_table::entry::Entry;
use crate::memory::page_table::machine::TableMemory;
use crate::memory::page_table::{Compound, Error, Kva, Mmio, Tracked, VaRange, VirtRange};
use crate::memory::simulation::SimulatedCpu;
use crate::memory::subtree::Subtree;
use alloc::vec::Vec;

type Cpu<'a> = SimulatedCpu<'a>;

/// Splits the leaf at the start of a range, promotes its parts, and checks both.
fn there_and_back<O: Placed, S: Compound>(
    range: VaRange<O, Cpu<'_>>,
    attributes: O::Attributes,
) -> VaRange<O, Cpu<'_>> {
    let cpu = range.machine();
    let whole = state(cpu);
    let [(_, len_bytes, start)] = leaves(&range)[..] else { panic!("one leaf") };
    let block = part(&range, 0, len_bytes);
    let split = range.split::<S>(block.start).unwrap();
    assert_eq!(split.flush_range(), Some(block));
    let range = release(split);
    let part_len = len_bytes / 512;
    let expected: Vec<_> =
        (0..512).map(|part| (part * part_len, part_len, start + part * part_len)).collect();
    assert_eq!(leaves(&range), expected);
    assert!(range.leaves().all(|leaf| leaf.attributes == attributes), "rights and cache type stay");
    let parts = state(cpu).audit;
    assert_eq!(parts.frames.tables, whole.audit.frames.tables + 1);
    assert_eq!(parts.frames.heap, whole.audit.frames.heap);
    let promoted = range.promote::<S>(block.start).unwrap();
    assert_eq!(promoted.flush_range(), Some(block));
    let waiting = state(cpu).audit;
    assert_eq!(waiting.frames.retired, 1, "the replaced table is owned until the flush");
    assert_eq!(waiting.frames.free, parts.frames.free);
    assert_eq!(waiting.outstanding, 1);
    let range = release(promoted);
    assert_eq!(state(cpu), whole);
    assert_eq!(range.query(block.start).unwrap().attributes, attributes);
    range
}

#[test]
fn device_leaves_of_both_sizes_are_split_and_promoted_with_their_cache_type() {
    with_small_machine(|cpu| {
        let before = state(cpu);
        let mut devices = slot::<Mmio, _>(cpu, 0);
        for attributes in [UNCACHED, WRITE_COMBINING] {
            devices.map(at(&devices, 0), device::<Size2MiB, _>(&cpu, 4 * MIB2, 1), attributes).unwrap();
            devices = there_and_back::<_, Size2MiB>(devices, attributes);
            devices = release(devices.detach().unwrap());
            devices.map(at(&devices, 0), device::<Size1GiB, _>(&cpu, GIB, 1), attributes).unwrap();
            devices = there_and_back::<_, Size1GiB>(devices, attributes);
            devices = release(devices.detach().unwrap());
        }
        let _devices = release(devices.trim());
        assert_eq!(state(cpu), before);
    });
}

#[test]
fn a_heap_leaf_of_2_mib_is_split_and_promoted_and_its_parts_go_back_singly() {
    with_machine(|cpu| {
        let before = state(cpu);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size2MiB, _>(cpu, 1), DataAccess::ReadOnly).unwrap();
        let heap = there_and_back::<_, Size2MiB>(heap, DataAccess::ReadOnly);
        let place = at(&heap, 0);
        let heap = release(heap.split::<Size2MiB>(place).unwrap());
        let mut cursor = heap.cursor();
        cursor.unmap(inside(&cursor, 7 * KIB4, KIB4)).unwrap();
        let heap = release(cursor.finish());
        assert_eq!(free(cpu), before.audit.frames.free - 511 - 3);
        assert_eq!(state(cpu).audit.kind(Kind::Tracked).leaves, [511, 0, 0]);
        let _heap = release(heap.detach().unwrap());
        assert_eq!(state(cpu), before);
    });
}

#[test]
fn a_kernel_leaf_keeps_its_right_to_execute() {
    with_machine(|cpu| {
        let shown = run::<Size2MiB, _>(cpu, 1);
        for access in [KernelAccess::ReadExecute, KernelAccess::ReadWrite, KernelAccess::ReadOnly] {
            let mut kernel = slot::<Kva, _>(cpu, 0);
            kernel.map(at(&kernel, 0), window::<Size2MiB, _>(&cpu, shown.start(), 1), access).unwrap();
            let kernel = there_and_back::<_, Size2MiB>(kernel, access);
            let kernel = release(kernel.detach().unwrap());
            Subtree::give_back(kernel).unwrap();
        }
    });
}

#[cfg(not(miri))]
#[test]
fn a_heap_leaf_of_1_gib_is_split_twice_and_promoted_twice() {
    use crate::memory::frame::{FrameSource, FrameState};
    use crate::memory::simulation::RING_0;
    with_a_gib(RING_0, |cpu, _| {
        let before = state(cpu);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size1GiB, _>(cpu, 1), HEAP).unwrap();
        let heap = there_and_back::<_, Size1GiB>(heap, HEAP);
        let (place, inner) = (at(&heap, 0), at(&heap, 300 * MIB2));
        let heap = release(heap.split::<Size1GiB>(place).unwrap());
        let heap = release(heap.split::<Size2MiB>(inner).unwrap());
        assert_eq!(state(cpu).audit.kind(Kind::Tracked).leaves, [512, 511, 0]);
        let whole = part(&heap, 0, GIB);
        let (error, heap) = refused(heap.promote::<Size1GiB>(place));
        assert_eq!(error, Error::Incomplete { range: whole, at: inner });
        let heap = release(heap.promote::<Size2MiB>(inner).unwrap());
        let heap = release(heap.promote::<Size1GiB>(place).unwrap());
        assert_eq!(cpu.frames().state(GIB / KIB4), FrameState::Leaf1GiB);
        let _heap = release(heap.detach().unwrap());
        assert_eq!(state(cpu), before);
    });
}

/// Tries to promote the first 2 MiB of a range, which must be refused with what `expected` says of the block and its pages.
fn refuses(
    heap: VaRange<Tracked, Cpu<'_>>,
    expected: impl FnOnce(VirtRange, &dyn Fn(u64) -> VirtAddr) -> Error,
) -> VaRange<Tracked, Cpu<'_>> {
    let cpu = heap.machine();
    let before = state(cpu);
    let block = part(&heap, 0, MIB2);
    let (error, heap) = refused(heap.promote::<Size2MiB>(block.start));
    assert_eq!(error, expected(block, &|page| at(&heap, page * KIB4)));
    assert_eq!(state(cpu), before);
    heap
}

#[test]
fn only_what_one_leaf_could_map_is_promoted() {
    with_machine(|cpu| {
        let heap = slot::<Tracked, _>(cpu, 0);
        let mut heap = refuses(heap, |range, page| Error::Incomplete { range, at: page(0) });
        let (first, last) = run::<Size4KiB, _>(cpu, 512).split_at(511).unwrap();
        heap.map(at(&heap, 0), first, HEAP).unwrap();
        let mut heap = refuses(heap, |range, page| Error::Incomplete { range, at: page(511) });
        let strange = run::<Size4KiB, _>(cpu, 1);
        let phys = strange.start();
        heap.map(at(&heap, 511 * KIB4), strange, HEAP).unwrap();
        let heap = refuses(heap, |range, page| Error::NotContiguous { range, at: page(511), phys });
        let mut cursor = heap.cursor();
        cursor.unmap(inside(&cursor, 511 * KIB4, KIB4)).unwrap();
        let mut heap = release(cursor.finish());
        heap.map(at(&heap, 511 * KIB4), last, DataAccess::ReadOnly).unwrap();
        let heap = refuses(heap, |range, page| Error::Unequal { range, at: page(511) });
        let mut cursor = heap.cursor();
        cursor.unmap(inside(&cursor, 300 * KIB4, KIB4)).unwrap();
        let place = cursor.range().start;
        let at = inside(&cursor, 300 * KIB4, KIB4).start;
        let error = cursor.promote::<Size2MiB>(place).unwrap_err();
        assert_eq!(error, Error::Incomplete { range: inside(&cursor, 0, MIB2), at }, "it awaits a flush");
        let _heap = release(cursor.finish());
    });
}

#[test]
fn frames_in_a_row_that_begin_in_the_middle_of_a_block_are_not_promoted() {
    with_machine(|cpu| {
        let (first, rest) = run::<Size4KiB, _>(cpu, 1024).split_at(100).unwrap();
        let (middle, last) = rest.split_at(512).unwrap();
        assert_eq!(last.count(), 412);
        let phys = middle.start();
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), middle, HEAP).unwrap();
        let heap = refuses(heap, |range, page| Error::NotContiguous { range, at: page(0), phys });
        let mut heap = release(heap.unmap().unwrap());
        let mut swapped = FrameBatch::new(cpu);
        swapped.push(last).unwrap();
        swapped.push(first).unwrap();
        assert_eq!(swapped.count(), 512);
        let phys = heap.map(at(&heap, 0), swapped, HEAP).map(|()| leaves(&heap)[0].2).unwrap();
        let phys = PhysAddr::new(phys);
        let _heap = refuses(heap, |range, page| Error::NotContiguous { range, at: page(0), phys });
    });
}

#[test]
fn marks_of_accesses_do_not_prevent_promotion() {
    with_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 512), HEAP).unwrap();
        let place = at(&heap, 0);
        let table = Entry::from_bits(raw_entry(cpu, place, 2)).table();
        // SAFETY: a table of a test machine, as a processor would write to it.
        let cells = unsafe { cpu.table(table) };
        for (cell, marks) in cells.iter().zip([0, 1 << 5, 1 << 6, 3 << 5].into_iter().cycle()) {
            cell.store(cell.load(Ordering::Relaxed) & !(3 << 5) | marks, Ordering::Relaxed);
        }
        let heap = release(heap.promote::<Size2MiB>(place).unwrap());
        assert_eq!(leaves(&heap).len(), 1);
        let bits = raw_entry(cpu, place, 2);
        assert_eq!(bits & 3 << 5, 3 << 5, "no access has to be noted");
    });
}
