//! Whole tables at once: what they own goes back once, what they show stays, and nothing goes before the flush.

use super::fixture::*;
use crate::memory::address::VirtAddr;
use crate::memory::address_space::Placed;
use crate::memory::frame::{Frame, FrameSource, FrameState};
use crate::memory::kind::Kind;
use crate::memory::page_size::{Size2MiB, Size4KiB};
use crate::memory::page_table::level::{L1, L2, L3};
use crate::memory::page_table::{Detached, Error, Kva, Mmio, Node, Tracked, VaRange};
use crate::memory::simulation::{RING_0, SimulatedCpu};
use crate::memory::subtree::Subtree;

type Cpu<'a> = SimulatedCpu<'a>;

/// Detaches a slot with `leaves` leaves below three tables, and frees it.
fn detach_full<O: Placed>(cpu: Cpu<'_>, full: VaRange<O, Cpu<'_>>, leaves: u64) {
    let mapped = state(cpu);
    let detached = full.detach().unwrap();
    let waiting = state(cpu).audit;
    assert_eq!(waiting.frames, mapped.audit.frames, "no frame moves before the flush");
    assert_eq!(waiting.outstanding, 1);
    assert_eq!(waiting.kind(O::KIND).detached_leaves.iter().sum::<u64>(), leaves);
    assert_eq!(waiting.kind(O::KIND).leaves, [0; 3]);
    let full = release(detached);
    assert_eq!(full.leaves().count(), 0);
    Subtree::give_back(full).unwrap();
}

#[test]
fn a_full_table_of_device_registers_is_detached_and_no_count_moves() {
    with_small_machine(|cpu| {
        let before = state(cpu);
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, 0), device::<Size4KiB, _>(&cpu, 0, 512), UNCACHED).unwrap();
        detach_full(cpu, devices, 512);
        assert_eq!(state(cpu), before);
    });
}

#[test]
fn a_full_table_of_windows_onto_heap_is_detached_and_the_heap_stays() {
    with_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        let frames = run::<Size4KiB, _>(cpu, 512);
        let start = frames.start();
        heap.map(at(&heap, 0), frames, HEAP).unwrap();
        let before = state(cpu);
        let mut kernel = slot::<Kva, _>(cpu, 0);
        kernel.map(at(&kernel, 0), window::<Size4KiB, _>(&cpu, start, 512), KERNEL).unwrap();
        kernel.map(at(&kernel, MIB2), window::<Size2MiB, _>(&cpu, start, 1), KERNEL).unwrap();
        detach_full(cpu, kernel, 513);
        assert_eq!(state(cpu), before);
    });
}

#[test]
fn each_frame_of_a_full_heap_table_goes_back_once() {
    with_machine(|cpu| {
        let before = state(cpu);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        let frames = run::<Size4KiB, _>(cpu, 512);
        let numbers = frames.start().frame_number()..frames.start().frame_number() + 512;
        heap.map(at(&heap, 0), frames, HEAP).unwrap();
        let large = run::<Size2MiB, _>(cpu, 1);
        heap.map(at(&heap, MIB2), large, HEAP).unwrap();
        assert!(numbers.clone().all(|frame| cpu.frames().is_allocated(frame)));
        detach_full(cpu, heap, 513);
        assert!(!numbers.clone().any(|frame| cpu.frames().is_allocated(frame)));
        assert_eq!(state(cpu), before);
        assert_eq!(cpu.frames().statistics().double_frees, 0);
    });
}

#[cfg(not(miri))]
#[test]
fn each_large_frame_of_a_heap_goes_back_once() {
    use crate::memory::page_size::Size1GiB;
    with_a_gib(RING_0, |cpu, _| {
        let before = state(cpu);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 3 * GIB), run::<Size1GiB, _>(cpu, 1), HEAP).unwrap();
        detach_full(cpu, heap, 1);
        assert_eq!(state(cpu), before);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, GIB), run::<Size2MiB, _>(cpu, 512), HEAP).unwrap();
        detach_full(cpu, heap, 512);
        assert_eq!(state(cpu), before);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, GIB), run::<Size4KiB, _>(cpu, 512 * 400), HEAP).unwrap();
        detach_full(cpu, heap, 512 * 400);
        assert_eq!(state(cpu), before);
    });
}

#[test]
fn a_table_that_was_never_linked_frees_what_it_was_given() {
    with_machine(|cpu| {
        let before = state(cpu);
        let frame = || Frame::<Size4KiB, _>::allocate(cpu).unwrap();
        let mut small = Node::<Tracked, L1, _>::new(frame());
        for index in [0, 5, 511] {
            small.set_leaf(index, frame(), HEAP).unwrap();
        }
        let refused = small.set_leaf(5, frame(), HEAP).unwrap_err();
        drop(small.set_leaf(512, refused, HEAP).unwrap_err());
        let mut middle = Node::<Tracked, L2, _>::new(frame());
        middle.set_leaf(7, Frame::allocate(cpu).unwrap(), HEAP).unwrap();
        assert!(middle.set_child(8, small).is_ok());
        let mut large = Node::<Tracked, L3, _>::new(frame());
        assert!(large.set_child(0, middle).is_ok());
        let second = Node::<Tracked, L2, _>::new(frame());
        let second = large.set_child(0, second).map_err(|node| large.set_child(512, node));
        assert!(matches!(second, Err(Err(_))), "taken, and out of the table");
        assert_eq!(free(cpu), before.audit.frames.free - 3 - 512 - 3 - 1);
        drop(second);
        drop(large);
        assert_eq!(state(cpu), before);
    });
}

#[test]
fn an_untracked_table_that_was_never_linked_frees_itself_alone() {
    with_small_machine(|cpu| {
        let shown = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
        let before = state(cpu);
        let frame = || Frame::<Size4KiB, _>::allocate(cpu).unwrap();
        let mut kernel = Node::<Kva, L1, _>::new(frame());
        let leaf = window::<Size4KiB, _>(&cpu, shown.start(), 1).leaf(0).unwrap();
        kernel.set_leaf(0, leaf, KERNEL).unwrap();
        let mut devices = Node::<Mmio, L2, _>::new(frame());
        let registers = device::<Size2MiB, _>(&cpu, 0, 2);
        devices.set_leaf(9, registers.leaf(1).unwrap(), UNCACHED).unwrap();
        assert!(devices.set_child(10, Node::new(frame())).is_ok());
        drop((kernel, devices));
        assert_eq!(state(cpu), before);
        assert!(cpu.frames().is_allocated(shown.start().frame_number()));
    });
}

#[test]
fn a_forgotten_detached_keeps_all_that_hardware_could_see() {
    with_machine(|cpu| {
        let boot = state(cpu);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        let frames = run::<Size4KiB, _>(cpu, 512);
        let numbers = frames.start().frame_number()..frames.start().frame_number() + 512;
        heap.map(at(&heap, 0), frames, HEAP).unwrap();
        heap.map(at(&heap, MIB2), run::<Size2MiB, _>(cpu, 1), HEAP).unwrap();
        let first = at(&heap, 0).as_u64();
        let entries = || [0, 100, 511].map(|page| raw_entry(cpu, VirtAddr::new(first + page * KIB4), 1));
        let seen = entries();
        let mut other = slot::<Tracked, _>(cpu, 1);
        other.map(at(&other, 0), run::<Size4KiB, _>(cpu, 3), HEAP).unwrap();
        #[expect(clippy::forget_non_drop, reason = "that there is nothing to run is the point")]
        core::mem::forget(heap.detach().unwrap());
        Subtree::give_back(release(other.detach().unwrap())).unwrap();
        while let Ok(rest) = Subtree::<Tracked>::reserve_longest(cpu) {
            let _lost = release(rest.trim());
        }
        let after = state(cpu).audit;
        assert_eq!(after.outstanding, 1);
        assert_eq!(after.kind(Kind::Tracked).detached_leaves, [512, 1, 0]);
        assert_eq!(after.kind(Kind::Tracked).detached_tables, [1, 1, 1]);
        assert_eq!(after.frames.free, boot.audit.frames.free - 1024 - 3);
        assert_eq!(entries(), seen, "a table that may be walked still is not written");
        let states = cpu.frames();
        assert!(
            numbers
                .clone()
                .all(|frame| states.is_allocated(frame) && states.state(frame) == FrameState::Leaf4KiB)
        );
    });
}

#[test]
fn a_forgotten_cursor_loses_its_range_and_frees_nothing() {
    with_small_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 8), HEAP).unwrap();
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, 0), device::<Size4KiB, _>(&cpu, 0, 8), UNCACHED).unwrap();
        let before = state(cpu).audit;
        let (taken, whole) = (part(&heap, 0, 4 * KIB4), heap.range());
        let mut cursor = heap.cursor();
        cursor.unmap(taken).unwrap();
        drop(cursor);
        let mut cursor = devices.cursor();
        cursor.detach(cursor.range()).unwrap();
        drop(cursor);
        let after = state(cpu).audit;
        assert_eq!(after.frames, before.frames);
        assert_eq!(after.kind(Kind::Tracked).detached_leaves, [4, 0, 0]);
        assert_eq!(after.kind(Kind::Mmio).detached_leaves, [8, 0, 0]);
        assert_eq!(after.outstanding, 2, "both are counted");
        let lost = Subtree::<Tracked>::reserve_at(cpu, whole).unwrap_err();
        assert_eq!(lost, Error::NotFree { range: whole, kind: Kind::Tracked });
    });
}

/// Three heap pages in slot `number`, taken out.
fn pages_taken_out(cpu: Cpu<'_>, number: u64) -> Detached<Tracked, Cpu<'_>> {
    let mut heap = slot::<Tracked, _>(cpu, number);
    heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 3), HEAP).unwrap();
    heap.detach().unwrap()
}

#[test]
fn the_right_over_another_address_space_flushes_nothing_here() {
    with_ram(&[(8, 64)], 64, RING_0, |strange_cpu, strange| {
        with_frames(64, RING_0, |cpu, inactive| {
            let before = state(cpu);
            let Err(ours) = strange.flush(pages_taken_out(cpu, 0)) else { panic!("by a foreign right") };
            assert_eq!(state(cpu).audit.frames.free, before.audit.frames.free - 6);
            let theirs = pages_taken_out(strange_cpu, 0);
            let Err((ours, theirs)) = inactive.flush((ours, theirs)) else { panic!("half of it is foreign") };
            let Err((theirs, ours)) = inactive.flush((theirs, ours)) else { panic!("half of it is foreign") };
            let Ok(flushed) = inactive.flush((ours, pages_taken_out(cpu, 1))) else {
                panic!("it was never active")
            };
            let (first, second) = flushed.split();
            Subtree::give_back(first.release()).unwrap();
            Subtree::give_back(second.release()).unwrap();
            assert_eq!(state(cpu), before);
            let Ok(theirs) = strange.flush(theirs) else { panic!("it was never active") };
            Subtree::give_back(theirs.release()).unwrap();
        });
    });
}
