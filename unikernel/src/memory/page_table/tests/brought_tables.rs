//! Mapping with tables that the caller brings: none comes from the allocator, and what is not needed stays with the caller.

use super::fixture::*;
use crate::memory::address_space::Placed;
use crate::memory::frame::{FrameBatch, FrameSource, OutOfFrames};
use crate::memory::page_size::{PageSize, Size1GiB, Size2MiB, Size4KiB};
use crate::memory::page_table::level::LeafSize;
use crate::memory::page_table::{Backing, Error, Kva, Mmio, Tracked, VaRange};
use crate::memory::simulation::{PVM, RING_0, SimulatedCpu};
use crate::memory::subtree::Subtree;

type Cpu<'a> = SimulatedCpu<'a>;

fn frames(cpu: Cpu<'_>, count: u64) -> FrameBatch<Size4KiB, Cpu<'_>> {
    FrameBatch::allocate(cpu, count).unwrap()
}

/// Maps `backing` at `offset` with each number of frames for tables below the `needed`, while the allocator has enough; and then
/// with three more, while it has none.
fn maps_with<'a, O: Placed, S: LeafSize, B: Backing<O, S, Cpu<'a>>>(
    mut range: VaRange<O, Cpu<'a>>,
    offset: u64,
    mut backing: B,
    attributes: O::Attributes,
    needed: u64,
) -> VaRange<O, Cpu<'a>> {
    let cpu = range.machine();
    let target = part(&range, offset, backing.count() * S::LEN_BYTES);
    for brought in 0..needed {
        let mut tables = frames(cpu, brought);
        let before = state(cpu);
        let (error, back) = refused(range.map_with_tables(target.start, backing, attributes, &mut tables));
        let cause =
            OutOfFrames { size: Size4KiB::NAME, count: needed, free_frames: brought, promised_frames: 0 };
        assert_eq!(error, Error::OutOfFrames { range: target, cause });
        assert_eq!(tables.count(), brought);
        assert_eq!(state(cpu), before, "with {brought} frames");
        backing = back;
    }
    let mut tables = frames(cpu, needed + 3);
    let held = frames(cpu, free(cpu));
    assert!(range.map_with_tables(target.start, backing, attributes, &mut tables).is_ok());
    assert_eq!((tables.count(), free(cpu)), (3, 0));
    drop((held, tables));
    let inside = |(at, ..): &&(u64, u64, u64)| (offset..offset + target.len_bytes).contains(at);
    let mapped: u64 = leaves(&range).iter().filter(inside).map(|(_, len_bytes, _)| len_bytes).sum();
    assert_eq!(mapped, target.len_bytes);
    state(cpu);
    range
}

fn comes_back<O: Placed>(cpu: Cpu<'_>, range: VaRange<O, Cpu<'_>>, before: &State) {
    Subtree::give_back(release(range.detach().unwrap())).unwrap();
    assert_eq!(state(cpu), *before);
}

#[test]
fn a_page_of_heap_takes_the_tables_that_are_missing() {
    // Under Miri once is long enough.
    for paging in [PVM, RING_0].into_iter().take(if cfg!(miri) { 1 } else { 2 }) {
        with_frames(1024 + 512, paging, |cpu, _| {
            let before = state(cpu);
            let heap = || slot::<Tracked, _>(cpu, 0);
            comes_back(cpu, maps_with(heap(), 0, run::<Size4KiB, _>(cpu, 1), HEAP, 3), &before);
            comes_back(cpu, maps_with(heap(), MIB2, run::<Size2MiB, _>(cpu, 1), HEAP, 2), &before);
            // Over the end of one table of level 2 and, but under Miri, all of the first table below the next one.
            let (pages, needed) = if cfg!(miri) { (12, 1 + 2 + 2) } else { (520, 1 + 2 + 3) };
            let pages = run::<Size4KiB, _>(cpu, pages);
            comes_back(cpu, maps_with(heap(), GIB - 4 * KIB4, pages, HEAP, needed), &before);
            // Below tables that are shared with the owner of the other half, and above such that are its own.
            let whole = heap();
            let half = part(&whole, 0, 256 * GIB);
            let halves = whole.carve(half).unwrap();
            let mut lower = halves.middle;
            let upper = halves.above.unwrap();
            lower.map(at(&lower, 0), run::<Size4KiB, _>(cpu, 1), HEAP).unwrap();
            let upper = maps_with(upper, GIB, run::<Size4KiB, _>(cpu, 1), HEAP, 2);
            let upper = maps_with(upper, GIB + MIB2, run::<Size4KiB, _>(cpu, 1), HEAP, 1);
            let lower = maps_with(lower, MIB2, run::<Size4KiB, _>(cpu, 1), HEAP, 1);
            comes_back(cpu, lower.join(upper).unwrap(), &before);
        });
    }
}

#[test]
fn a_table_that_exists_costs_nothing_of_what_is_brought() {
    with_small_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 1), HEAP).unwrap();
        let mut none = FrameBatch::new(cpu);
        heap.map_with_tables(at(&heap, KIB4), run::<Size4KiB, _>(cpu, 1), HEAP, &mut none).unwrap();
        heap.map_with_tables(at(&heap, 2 * KIB4), run::<Size4KiB, _>(cpu, 3), HEAP, &mut none).unwrap();
        assert_eq!(leaves(&heap).len(), 5);
        state(cpu);
    });
}

#[test]
fn all_kinds_take_tables_that_are_brought() {
    with_frames(64, RING_0, |cpu, _| {
        let before = state(cpu);
        let devices = || slot::<Mmio, _>(cpu, 0);
        let registers = device::<Size4KiB, _>(&cpu, 0, 513);
        comes_back(cpu, maps_with(devices(), GIB - KIB4, registers, UNCACHED, 1 + 2 + 2), &before);
        let registers = device::<Size1GiB, _>(&cpu, 0, 1);
        comes_back(cpu, maps_with(devices(), GIB, registers, UNCACHED, 1), &before);
        let shown = window::<Size4KiB, _>(&cpu, crate::memory::address::PhysAddr::new(0), 3);
        comes_back(cpu, maps_with(slot::<Kva, _>(cpu, 0), 0, shown, KERNEL, 3), &before);
    });
}

#[test]
fn what_is_in_the_way_is_told_before_what_is_missing() {
    with_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, MIB2), run::<Size2MiB, _>(cpu, 1), HEAP).unwrap();
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 1), HEAP).unwrap();
        let mut tables = frames(cpu, 2);
        let before = state(cpu);
        for (offset, taken) in [(0, 0), (MIB2, MIB2), (MIB2 + KIB4, MIB2 + KIB4)] {
            let page = run::<Size4KiB, _>(cpu, 1);
            let (error, page) = refused(heap.map_with_tables(at(&heap, offset), page, HEAP, &mut tables));
            let range = part(&heap, offset, KIB4);
            assert_eq!(error, Error::AlreadyMapped { range, at: at(&heap, taken) });
            drop(page);
        }
        let page = run::<Size4KiB, _>(cpu, 1);
        let (error, page) = refused(heap.map_with_tables(at(&heap, SLOT), page, HEAP, &mut tables));
        let range = part(&heap, SLOT, KIB4);
        assert_eq!(error, Error::OutsideRange { range, owned: heap.range() });
        drop(page);
        assert_eq!((state(cpu), tables.count()), (before, 2));
    });
}

#[test]
fn tables_of_another_machine_are_refused() {
    with_small_machine(|other| {
        with_small_machine(|cpu| {
            let mut heap = slot::<Tracked, _>(cpu, 0);
            let mut tables = frames(other, 3);
            let before = state(cpu);
            let page = run::<Size4KiB, _>(cpu, 1);
            let range = part(&heap, 0, KIB4);
            let (error, page) = refused(heap.map_with_tables(range.start, page, HEAP, &mut tables));
            assert_eq!(error, Error::ForeignBacking { range });
            drop(page);
            assert_eq!((state(cpu), tables.count()), (before, 3));
            assert!(cpu.frames().id() != other.frames().id());
        });
    });
}
