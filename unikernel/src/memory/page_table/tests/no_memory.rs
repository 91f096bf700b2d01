//! No memory for tables: at each number of free frames that does not suffice, all is as it was and all comes back.

use super::fixture::*;
use crate::memory::address::PhysAddr;
use crate::memory::address_space::Placed;
use crate::memory::frame::{Frame, FrameBatch, OutOfFrames};
use crate::memory::page_size::{PageSize, Size1GiB, Size2MiB, Size4KiB};
use crate::memory::page_table::level::LeafSize;
use crate::memory::page_table::{Backing, Error, Kva, Mmio, Tracked, VaRange, VirtRange};
use crate::memory::simulation::{RING_0, SimulatedCpu, SimulatedRam, Simulation, SimulationError};
use crate::memory::subtree::Subtree;

type Cpu<'a> = SimulatedCpu<'a>;

/// Takes all free frames but `left`.
fn hold_all_but(cpu: Cpu<'_>, left: u64) -> FrameBatch<Size4KiB, Cpu<'_>> {
    FrameBatch::allocate(cpu, free(cpu) - left).unwrap()
}

fn out_of_frames(range: VirtRange, count: u64, free_frames: u64) -> Error {
    let cause = OutOfFrames { size: Size4KiB::NAME, count, free_frames, promised_frames: 0 };
    Error::OutOfFrames { range, cause }
}

/// Maps `backing` at `offset` with each number of free frames below the `needed`, and then with just those.
fn maps_with_just<'a, O: Placed, S: LeafSize, B: Backing<O, S, Cpu<'a>>>(
    mut range: VaRange<O, Cpu<'a>>,
    offset: u64,
    mut backing: B,
    attributes: O::Attributes,
    needed: u64,
) -> VaRange<O, Cpu<'a>> {
    let cpu = range.machine();
    let target = part(&range, offset, backing.count() * S::LEN_BYTES);
    for left in 0..needed {
        let held = hold_all_but(cpu, left);
        let before = state(cpu);
        let (error, back) = refused(range.map(target.start, backing, attributes));
        assert_eq!(error, out_of_frames(target, needed, left));
        assert_eq!(state(cpu), before, "with {left} frames");
        drop(held);
        backing = back;
    }
    let held = hold_all_but(cpu, needed);
    assert!(range.map(target.start, backing, attributes).is_ok());
    assert_eq!(free(cpu), 0);
    assert_eq!(leaves(&range).iter().map(|(_, len_bytes, _)| len_bytes).sum::<u64>(), target.len_bytes);
    drop(held);
    state(cpu);
    range
}

/// Takes all out again, and checks that all memory is back.
fn comes_back<O: Placed>(cpu: Cpu<'_>, range: VaRange<O, Cpu<'_>>, before: &State) {
    Subtree::give_back(release(range.detach().unwrap())).unwrap();
    assert_eq!(state(cpu), *before);
}

#[test]
fn mapping_heap_needs_its_tables_or_changes_nothing() {
    with_frames(2048, RING_0, |cpu, _| {
        let before = state(cpu);
        let heap = || slot::<Tracked, _>(cpu, 0);
        let small = || run::<Size4KiB, _>(cpu, 1);
        comes_back(cpu, maps_with_just(heap(), 0, small(), HEAP, 3), &before);
        let batch = FrameBatch::<Size4KiB, _>::allocate(cpu, 520).unwrap();
        comes_back(cpu, maps_with_just(heap(), GIB - 4 * KIB4, batch, HEAP, 1 + 2 + 3), &before);
        let large = Frame::<Size2MiB, _>::allocate(cpu).unwrap();
        comes_back(cpu, maps_with_just(heap(), MIB2, large, HEAP, 2), &before);
        let large = run::<Size2MiB, _>(cpu, 2);
        comes_back(cpu, maps_with_just(heap(), GIB - MIB2, large, HEAP, 1 + 2), &before);
    });
}

#[test]
fn mapping_device_registers_needs_its_tables_or_changes_nothing() {
    with_frames(64, RING_0, |cpu, _| {
        let before = state(cpu);
        let devices = || slot::<Mmio, _>(cpu, 0);
        let registers = device::<Size4KiB, _>(&cpu, 0, 1025);
        comes_back(cpu, maps_with_just(devices(), 511 * KIB4, registers, UNCACHED, 2 + 3), &before);
        let registers = device::<Size2MiB, _>(&cpu, 0, 513);
        comes_back(cpu, maps_with_just(devices(), MIB2, registers, UNCACHED, 1 + 2), &before);
        let registers = device::<Size1GiB, _>(&cpu, 0, 2);
        comes_back(cpu, maps_with_just(devices(), GIB, registers, UNCACHED, 1), &before);
        let two = slot::<Mmio, _>(cpu, 1).join(slot(cpu, 2)).unwrap();
        let registers = device::<Size1GiB, _>(&cpu, 0, 2);
        comes_back(cpu, maps_with_just(two, SLOT - GIB, registers, UNCACHED, 2), &before);
    });
}

#[test]
fn mapping_a_window_needs_its_tables_or_changes_nothing() {
    with_frames(64, RING_0, |cpu, _| {
        let before = state(cpu);
        let windows = window::<Size4KiB, _>(&cpu, PhysAddr::new(0), 64);
        let kernel = slot::<Kva, _>(cpu, 0);
        comes_back(cpu, maps_with_just(kernel, 500 * KIB4, windows, KERNEL, 2 + 2), &before);
    });
}

#[test]
fn tables_that_are_there_are_not_asked_for() {
    with_frames(64, RING_0, |cpu, _| {
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, 0), device::<Size4KiB, _>(&cpu, 0, 1), UNCACHED).unwrap();
        let held = hold_all_but(cpu, 0);
        devices.map(at(&devices, KIB4), device::<Size4KiB, _>(&cpu, 0, 511), UNCACHED).unwrap();
        let range = part(&devices, 512 * KIB4, KIB4);
        let before = state(cpu);
        let (error, _) = refused(devices.map(range.start, device::<Size4KiB, _>(&cpu, 0, 1), UNCACHED));
        assert_eq!(error, out_of_frames(range, 1, 0));
        assert_eq!(state(cpu), before);
        let devices = release(devices.detach().unwrap());
        assert_eq!(free(cpu), 3, "freeing needs no memory");
        drop((devices, held));
    });
}

#[test]
fn splitting_needs_a_table_or_changes_nothing_and_promoting_needs_none() {
    with_frames(1024, RING_0, |cpu, _| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size2MiB, _>(cpu, 1), HEAP).unwrap();
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, 0), device::<Size1GiB, _>(&cpu, 0, 1), WRITE_COMBINING).unwrap();
        let held = hold_all_but(cpu, 0);
        let before = state(cpu);
        let (block, gib) = (part(&heap, 0, MIB2), part(&devices, 0, GIB));
        let (error, heap) = refused(heap.split::<Size2MiB>(block.start));
        assert_eq!(error, out_of_frames(block, 1, 0));
        let (error, devices) = refused(devices.split::<Size1GiB>(gib.start));
        assert_eq!(error, out_of_frames(gib, 1, 0));
        assert_eq!(state(cpu), before);
        drop(held);
        let held = hold_all_but(cpu, 1);
        let heap = release(heap.split::<Size2MiB>(block.start).unwrap());
        let heap = release(heap.promote::<Size2MiB>(block.start).unwrap());
        let devices = release(devices.split::<Size1GiB>(gib.start).unwrap());
        let devices = release(devices.promote::<Size1GiB>(gib.start).unwrap());
        assert_eq!(free(cpu), 1);
        drop(held);
        assert_eq!((leaves(&heap).len(), leaves(&devices).len()), (1, 1));
    });
}

#[test]
fn an_address_space_without_a_frame_for_its_root_is_refused() {
    let mut memory = SimulatedRam::new(2, 2, 1);
    let machine = Simulation::new(&mut memory, RING_0, core::slice::from_ref(&(0..1))).unwrap();
    let cause = OutOfFrames { size: Size4KiB::NAME, count: 1, free_frames: 0, promised_frames: 0 };
    assert!(matches!(machine.boot(), Err(SimulationError::OutOfFrames(found)) if found == cause));
    assert!(matches!(machine.boot(), Err(SimulationError::Booted)));
}
