//! How tables differ by host.

use super::fixture::*;
use crate::memory::frame::Frame;
use crate::memory::page_size::{Size1GiB, Size2MiB, Size4KiB};
use crate::memory::page_table::{Error, Kva, Machine, Mmio, Tracked};
use crate::memory::simulation::{PVM, RING_0};

const USER: u64 = 1 << 2;

#[test]
fn entries_of_every_level_and_kind_have_the_user_bit_that_the_host_wants() {
    for (paging, expected) in [(RING_0, 0), (PVM, USER)] {
        with_frames(2048, paging, |cpu, _| {
            let mut heap = slot::<Tracked, _>(cpu, 0);
            heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 3), HEAP).unwrap();
            heap.map(at(&heap, MIB2), run::<Size2MiB, _>(cpu, 1), HEAP).unwrap();
            let mut kernel = slot::<Kva, _>(cpu, 0);
            let shown = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
            kernel.map(at(&kernel, 0), window::<Size4KiB, _>(&cpu, shown.start(), 1), KERNEL).unwrap();
            let mut devices = slot::<Mmio, _>(cpu, 0);
            devices.map(at(&devices, 0), device::<Size4KiB, _>(&cpu, 0, 1), UNCACHED).unwrap();
            for address in [at(&heap, 0), at(&kernel, 0), at(&devices, 0)] {
                for level in 1..=4 {
                    let bits = raw_entry(cpu, address, level);
                    assert_eq!(bits & USER, expected, "level {level} of {address}: {bits:#x}");
                }
            }
            let (small, large) = (at(&heap, 0), at(&heap, MIB2));
            assert_eq!(raw_entry(cpu, large, 2) & USER, expected);
            let heap = release(heap.split::<Size2MiB>(large).unwrap());
            assert_eq!(raw_entry(cpu, large, 1) & USER, expected);
            let heap = release(heap.promote::<Size2MiB>(large).unwrap());
            assert_eq!(raw_entry(cpu, large, 2) & USER, expected);
            let heap =
                release(heap.protect(crate::memory::page_table::attributes::DataAccess::ReadOnly).unwrap());
            assert_eq!(raw_entry(cpu, small, 1) & USER, expected);
            assert_eq!(leaves(&heap).len(), 4);
            state(cpu);
        });
    }
}

#[test]
fn no_entry_is_global() {
    with_small_machine(|cpu| {
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, 0), device::<Size4KiB, _>(&cpu, 0, 1), WRITE_COMBINING).unwrap();
        devices.map(at(&devices, MIB2), device::<Size2MiB, _>(&cpu, 0, 1), WRITE_COMBINING).unwrap();
        assert_eq!(raw_entry(cpu, at(&devices, 0), 1) & 1 << 8, 0);
        assert_eq!(raw_entry(cpu, at(&devices, MIB2), 2) & 1 << 8, 0);
    });
}

#[test]
fn the_root_lies_in_an_odd_frame_where_the_host_wants_that() {
    for first in [1, 2, 5, 8] {
        with_ram(&[(first, 512)], 512, PVM, |cpu, _| {
            assert_eq!(cpu.space().root().frame_number() % 2, 1);
            assert_eq!(free(cpu), 512 - first - 1, "the even neighbour went back");
            state(cpu);
        });
    }
}

#[test]
fn a_host_without_leaves_of_1_gib_refuses_them_and_takes_the_others() {
    with_frames(512, PVM, |cpu, _| {
        let mut devices = slot::<Mmio, _>(cpu, 0);
        let range = part(&devices, 0, 2 * GIB);
        let registers = device::<Size1GiB, _>(&cpu, 0, 2);
        let before = state(cpu);
        let (error, back) = refused(devices.map(range.start, registers, UNCACHED));
        assert_eq!(error, Error::UnsupportedSize { range, leaf_bytes: GIB });
        assert_eq!(back, registers);
        assert_eq!(state(cpu), before);
        devices.map(range.start, device::<Size2MiB, _>(&cpu, 0, 512), UNCACHED).unwrap();
        let mapped = state(cpu);
        let (error, devices) = refused(devices.promote::<Size1GiB>(range.start));
        let range = part(&devices, 0, GIB);
        assert_eq!(error, Error::UnsupportedSize { range, leaf_bytes: GIB });
        assert_eq!(state(cpu), mapped);
    });
}

#[cfg(not(miri))]
#[test]
fn a_gib_of_heap_is_one_leaf_with_a_window_onto_it() {
    with_a_gib(RING_0, |cpu, _| {
        let before = state(cpu);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        let frame = Frame::<Size1GiB, _>::allocate(cpu).unwrap();
        let start = frame.start();
        heap.map(at(&heap, 511 * GIB), frame, HEAP).unwrap();
        let mut kernel = slot::<Kva, _>(cpu, 0);
        kernel.map(at(&kernel, GIB), window::<Size1GiB, _>(&cpu, start, 1), KERNEL).unwrap();
        let mapped = state(cpu).audit;
        assert_eq!(mapped.kinds.map(|kind| kind.leaves[2]), [1, 0, 1]);
        assert_eq!(mapped.frames.heap, GIB / KIB4);
        let found = heap.query(at(&heap, SLOT - 1)).unwrap();
        assert_eq!((found.range, found.phys), (part(&heap, 511 * GIB, GIB), start));
        let _kernel = release(release(kernel.unmap().unwrap()).trim());
        let heap = release(heap.unmap().unwrap());
        let _heap = release(heap.trim());
        assert_eq!(state(cpu), before);
    });
}
