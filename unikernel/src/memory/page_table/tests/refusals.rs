//! Bad input: each is refused with the values involved, and the machine is as it was.
//!
//! Of address allocation: see [`super::refused_addresses`]. Without memory: see [`super::no_memory`]. Promotion: see
//! [`super::resize`]. Pending flushes: see [`super::cursors`].

use super::fixture::*;
use crate::memory::address::VirtAddr;
use crate::memory::frame::{Frame, FrameBatch};
use crate::memory::page_size::{Size1GiB, Size2MiB, Size4KiB};
use crate::memory::page_table::level::L1;
use crate::memory::page_table::{Error, Mmio, Node, Tracked, VaRange, VirtRange};
use crate::memory::simulation::SimulatedCpu;
use crate::memory::subtree::Subtree;
use alloc::vec::Vec;

type Cpu<'a> = SimulatedCpu<'a>;

/// Calls `refuse`, which must be refused with `expected` and change nothing.
pub(super) fn refuses(cpu: Cpu<'_>, expected: Error, refuse: impl FnOnce() -> Error) {
    let before = state(cpu);
    assert_eq!(refuse(), expected);
    assert_eq!(state(cpu), before, "after {expected}");
}

/// Ranges that no operation takes, with why.
pub(super) fn malformed() -> Vec<(VirtRange, Error)> {
    let range = |start, len_bytes| VirtRange::new(VirtAddr::new(start), len_bytes);
    let (start, half, top) = (SLOT, 1 << 47, u64::MAX - 4095);
    let mut all = Vec::new();
    for range in [range(start + 1, KIB4), range(start, KIB4 - 1), range(start + 8, KIB4 - 8)] {
        all.push((range, Error::Unaligned { range, align_bytes: KIB4 }));
    }
    let lower_to_upper = range(half - KIB4, (u64::MAX << 48) + 2 * KIB4);
    for range in [range(half, KIB4), range(half - KIB4, 2 * KIB4), lower_to_upper, range(1 << 63, KIB4)] {
        all.push((range, Error::NotCanonical { range }));
    }
    all.push((range(top, 2 * KIB4), Error::Overflow { range: range(top, 2 * KIB4) }));
    all.push((range(start, 0), Error::Empty { at: VirtAddr::new(start) }));
    all
}

/// Well-formed ranges that are not inside of `owned`, with why they are refused.
fn outside(owned: VirtRange) -> impl Iterator<Item = (VirtRange, Error)> {
    let range = |start, len_bytes| VirtRange::new(VirtAddr::new(start), len_bytes);
    let (start, end) = (owned.start.as_u64(), owned.start.as_u64() + owned.len_bytes);
    [
        range(start - KIB4, 2 * KIB4),
        range(end - KIB4, 2 * KIB4),
        range(end, KIB4),
        range(start, owned.len_bytes + KIB4),
        range(SLOT, KIB4),
    ]
    .into_iter()
    .map(move |range| (range, Error::OutsideRange { range, owned }))
}

#[test]
fn malformed_ranges_are_refused_by_every_operation() {
    with_small_machine(|cpu| {
        let mut devices = reserve::<Mmio, _>(cpu, MIB2);
        devices.map(at(&devices, 0), device::<Size4KiB, _>(&cpu, 0, 3), UNCACHED).unwrap();
        for (range, error) in malformed().into_iter().chain(outside(devices.range())) {
            let mut cursor = devices.cursor();
            refuses(cpu, error, || cursor.unmap(range).unwrap_err());
            refuses(cpu, error, || cursor.detach(range).unwrap_err());
            refuses(cpu, error, || cursor.protect(range, WRITE_COMBINING).unwrap_err());
            devices = release(cursor.finish());
            refuses(cpu, error, || {
                // SAFETY: only what is refused is done with it.
                let owned = unsafe { VaRange::<Mmio, _>::new(cpu, devices.span()) };
                refused(owned.carve(range)).0
            });
        }
        assert_eq!(leaves(&devices).len(), 3);
    });
}

#[test]
fn mappings_outside_of_the_range_or_out_of_line_are_refused() {
    with_small_machine(|cpu| {
        let mut devices = reserve::<Mmio, _>(cpu, 4 * MIB2);
        let owned = devices.range();
        let start = owned.start.as_u64();
        let map = |devices: &mut VaRange<Mmio, Cpu<'_>>, at, count| {
            let registers = device::<Size2MiB, _>(&cpu, 0, count);
            let (error, back) = refused(devices.map(VirtAddr::new(at), registers, UNCACHED));
            assert_eq!(back, registers);
            error
        };
        for (at, count, what) in [
            (start - MIB2, 1, 0),
            (start - MIB2, 2, 0),
            (start, 5, 0),
            (start + 4 * MIB2, 1, 0),
            (start + KIB4, 1, 1),
            (start + MIB2 - 1, 1, 1),
            (1 << 47, 1, 2),
            ((1 << 47) - MIB2, 2, 2),
            (0xffff_ffff_ffe0_0000, 2, 3),
        ] {
            let range = VirtRange::new(VirtAddr::new(at), count * MIB2);
            let error = match what {
                0 => Error::OutsideRange { range, owned },
                1 => Error::Unaligned { range, align_bytes: MIB2 },
                2 => Error::NotCanonical { range },
                _ => Error::Overflow { range },
            };
            refuses(cpu, error, || map(&mut devices, at, count));
        }
        let mut heap = reserve::<Tracked, _>(cpu, MIB2);
        let place = at(&heap, 0);
        refuses(cpu, Error::Empty { at: place }, || {
            let (error, back) = refused(heap.map(place, FrameBatch::<Size4KiB, _>::new(cpu), HEAP));
            assert_eq!(back.count(), 0);
            error
        });
    });
}

#[test]
fn nothing_is_mapped_over_anything() {
    with_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 700 * KIB4), run::<Size4KiB, _>(cpu, 2), HEAP).unwrap();
        heap.map(at(&heap, 2 * MIB2), run::<Size2MiB, _>(cpu, 1), HEAP).unwrap();
        let taken = at(&heap, 700 * KIB4);
        let overlaps =
            [(700, 1, 700), (701, 1, 701), (699, 2, 700), (600, 101, 700), (1023, 2, 1024), (1300, 1, 1300)];
        for (first, count, expected) in overlaps {
            let range = part(&heap, first * KIB4, count * KIB4);
            let error = Error::AlreadyMapped { range, at: at(&heap, expected * KIB4) };
            let mut frames = Some(run::<Size4KiB, _>(cpu, count));
            refuses(cpu, error, || {
                let (error, back) = refused(heap.map(range.start, frames.take().unwrap(), HEAP));
                assert_eq!(back.count(), count);
                frames = Some(back);
                error
            });
        }
        let large = part(&heap, 0, 2 * MIB2);
        let frames = run::<Size2MiB, _>(cpu, 2);
        let (error, frames) = refused(heap.map(large.start, frames, HEAP));
        assert_eq!(error, Error::AlreadyMapped { range: large, at: taken }, "a large leaf over small ones");
        let free_place = at(&heap, 3 * MIB2);
        heap.map(free_place, frames, HEAP).unwrap();
        state(cpu);
    });
}

#[test]
fn a_table_that_earlier_mappings_left_is_told_from_a_mapping() {
    with_small_machine(|cpu| {
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, MIB2 + 5 * KIB4), device::<Size4KiB, _>(&cpu, 0, 2), UNCACHED).unwrap();
        let (one, two, taken) =
            (part(&devices, MIB2, MIB2), part(&devices, 0, 2 * MIB2), at(&devices, MIB2 + 5 * KIB4));
        let map = |devices: &mut VaRange<Mmio, Cpu<'_>>, range: VirtRange| {
            let registers = device::<Size2MiB, _>(&cpu, 0, range.len_bytes / MIB2);
            let (error, back) = refused(devices.map(range.start, registers, UNCACHED));
            assert_eq!(back, registers);
            error
        };
        for range in [one, two] {
            let error = Error::AlreadyMapped { range, at: taken };
            refuses(cpu, error, || map(&mut devices, range));
        }
        let mut devices = release(devices.unmap().unwrap());
        for range in [one, two] {
            let error = Error::TableKept { range, at: one.start };
            refuses(cpu, error, || map(&mut devices, range));
        }
        let mut devices = release(devices.trim());
        devices.map(two.start, device::<Size2MiB, _>(&cpu, 0, 2), UNCACHED).unwrap();
        state(cpu);
    });
}

#[test]
fn the_edges_of_a_range_cut_no_large_leaf() {
    with_small_machine(|cpu| {
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, MIB2), device::<Size2MiB, _>(&cpu, 0, 3), UNCACHED).unwrap();
        devices.map(at(&devices, 5 * GIB), device::<Size1GiB, _>(&cpu, 0, 1), UNCACHED).unwrap();
        let mut cursor = devices.cursor();
        for (start, len_bytes, leaf, leaf_bytes) in [
            (0, MIB2 + KIB4, MIB2, MIB2),
            (MIB2 + KIB4, MIB2 - KIB4, MIB2, MIB2),
            (MIB2 + 7 * KIB4, KIB4, MIB2, MIB2),
            (MIB2, 3 * MIB2 - KIB4, 3 * MIB2, MIB2),
            (4 * GIB, GIB + MIB2, 5 * GIB, GIB),
            (6 * GIB - KIB4, MIB2, 5 * GIB, GIB),
        ] {
            let range = inside(&cursor, start, len_bytes);
            let error = Error::CutsLeaf { range, leaf: inside(&cursor, leaf, leaf_bytes) };
            refuses(cpu, error, || cursor.unmap(range).unwrap_err());
            refuses(cpu, error, || cursor.detach(range).unwrap_err());
            refuses(cpu, error, || cursor.protect(range, WRITE_COMBINING).unwrap_err());
        }
        let devices = release(cursor.finish());
        let (middle, leaf) = (part(&devices, MIB2 + KIB4, KIB4), part(&devices, MIB2, MIB2));
        let carved = devices.carve(middle).unwrap();
        let piece = carved.middle;
        let error = Error::CutsLeaf { range: middle, leaf };
        let (found, piece) = refused(piece.unmap());
        assert_eq!(found, error);
        let (found, piece) = refused(piece.detach());
        assert_eq!(found, error);
        let (found, piece) = refused(piece.protect(WRITE_COMBINING));
        assert_eq!(found, error);
        let (found, piece) = refused(Subtree::give_back(piece));
        assert_eq!(found, Error::StillMapped { range: middle, at: middle.start });
        let devices = piece.join(carved.below.unwrap()).unwrap().join(carved.above.unwrap()).unwrap();
        assert_eq!(leaves(&devices).len(), 4);
    });
}

#[test]
fn only_leaves_of_the_size_are_split_where_they_start() {
    with_small_machine(|cpu| {
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, 0), device::<Size4KiB, _>(&cpu, 0, 1), UNCACHED).unwrap();
        devices.map(at(&devices, GIB), device::<Size1GiB, _>(&cpu, 0, 1), UNCACHED).unwrap();
        let mut cursor = devices.cursor();
        for offset in [0, MIB2, GIB, 3 * GIB] {
            let range = inside(&cursor, offset, MIB2);
            refuses(cpu, Error::NoLeaf { range }, || cursor.split::<Size2MiB>(range.start).unwrap_err());
        }
        let range = inside(&cursor, GIB + MIB2, GIB);
        let error = Error::Unaligned { range, align_bytes: GIB };
        refuses(cpu, error, || cursor.split::<Size1GiB>(range.start).unwrap_err());
        refuses(cpu, error, || cursor.promote::<Size1GiB>(range.start).unwrap_err());
        let (range, owned) = (inside(&cursor, SLOT, MIB2), cursor.range());
        let error = Error::OutsideRange { range, owned };
        refuses(cpu, error, || cursor.split::<Size2MiB>(range.start).unwrap_err());
        refuses(cpu, error, || cursor.promote::<Size2MiB>(range.start).unwrap_err());
    });
}

#[test]
fn frames_of_another_machine_are_not_mapped() {
    with_machine(|cpu| {
        with_machine(|other| {
            let mut heap = slot::<Tracked, _>(cpu, 0);
            let place = at(&heap, 0);
            let before = state(other);
            for count in [1, 300] {
                let range = part(&heap, 0, count * KIB4);
                let error = heap.map(place, run::<Size4KiB, _>(other, count), HEAP).unwrap_err().error;
                assert_eq!(error, Error::ForeignBacking { range });
            }
            let mut devices = slot::<Mmio, _>(cpu, 0);
            let registers = device::<Size4KiB, _>(&other, 0, 1);
            let place_of_device = at(&devices, 0);
            let error = devices.map(place_of_device, registers, UNCACHED).unwrap_err().error;
            assert_eq!(error, Error::ForeignBacking { range: part(&devices, 0, KIB4) });
            let mut cursor = heap.cursor();
            let frame = Frame::<Size4KiB, _>::allocate(other).unwrap();
            assert!(matches!(
                cursor.map_page(place, frame, HEAP).unwrap_err().error,
                Error::ForeignBacking { .. }
            ));
            let mut table = Node::<Tracked, L1, _>::new(Frame::allocate(cpu).unwrap());
            let frame = Frame::<Size4KiB, _>::allocate(other).unwrap();
            assert!(table.set_leaf(0, frame, HEAP).is_err());
            assert_eq!(state(other), before);
        });
    });
}
