//! Addresses, virtual and physical, that are not given out, not taken back, or not made into leaves.

use super::fixture::*;
use super::refusals::{malformed, refuses};
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::kind::Kind;
use crate::memory::page_size::{Size2MiB, Size4KiB};
use crate::memory::page_table::{Error, Kva, KvaRun, MmioRun, Tracked, VirtRange};
use crate::memory::simulation::RING_0;
use crate::memory::subtree::{FREE_RANGES_MAX, Subtree};
use alloc::vec::Vec;

#[test]
fn device_registers_are_not_ram_and_windows_are() {
    with_frames(512, RING_0, |cpu, _| {
        let start = PhysAddr::new;
        let end = 512 * KIB4;
        for (phys, count) in [(0, 1), (KIB4, 1), (end - KIB4, 2), (0, 600)] {
            let error = Error::IsRam { start: start(phys), len_bytes: count * KIB4 };
            refuses(cpu, error, || MmioRun::<Size4KiB>::new(&cpu, start(phys), count).unwrap_err());
        }
        for (phys, count) in [(end, 1), (end - KIB4, 2), (DEVICE, 1)] {
            let error = Error::NotRam { start: start(phys), len_bytes: count * KIB4 };
            refuses(cpu, error, || KvaRun::<Size4KiB>::new(&cpu, start(phys), count).unwrap_err());
        }
        let last = (1 << RING_0.physical_address_bits) - KIB4;
        for (phys, count, len_bytes) in [
            (DEVICE, 0, 0),
            (DEVICE + 8, 1, KIB4),
            (last, 2, 2 * KIB4),
            ((1 << 52) - KIB4, 1, KIB4),
            (u64::MAX - 4095, 1, KIB4),
            (DEVICE, u64::MAX, u64::MAX),
        ] {
            let error = Error::BadPhysicalRange { start: start(phys), len_bytes, align_bytes: KIB4 };
            refuses(cpu, error, || MmioRun::<Size4KiB>::new(&cpu, start(phys), count).unwrap_err());
            refuses(cpu, error, || KvaRun::<Size4KiB>::new(&cpu, start(phys), count).unwrap_err());
        }
        let error =
            Error::BadPhysicalRange { start: start(DEVICE + KIB4), len_bytes: MIB2, align_bytes: MIB2 };
        refuses(cpu, error, || MmioRun::<Size2MiB>::new(&cpu, start(DEVICE + KIB4), 1).unwrap_err());
        assert!(MmioRun::<Size4KiB>::new(&cpu, start(last), 1).is_ok());
        assert_eq!(device::<Size4KiB, _>(&cpu, 0, 2).leaf(2), None);
    });
}

#[test]
fn addresses_that_are_not_free_are_not_given_out() {
    with_small_machine(|cpu| {
        let range = |start, len_bytes| VirtRange::new(VirtAddr::new(start), len_bytes);
        let at = |range| Subtree::<Tracked>::reserve_at(cpu, range).unwrap_err();
        let held = reserve::<Tracked, _>(cpu, MIB2);
        let start = held.range().start.as_u64();
        let kind = Kind::Tracked;
        for range in
            [held.range(), range(start + KIB4, KIB4), range(start - KIB4, 2 * KIB4), range(0x1_0000, KIB4)]
        {
            refuses(cpu, Error::NotFree { range, kind }, || at(range));
        }
        let guard = range(0, KIB4);
        refuses(cpu, Error::NotFree { range: guard, kind: Kind::Kva }, || {
            Subtree::<Kva>::reserve_at(cpu, guard).unwrap_err()
        });
        for (range, error) in malformed() {
            refuses(cpu, error, || at(range));
        }
        let reserve =
            |len_bytes, align_bytes| Subtree::<Tracked>::reserve(cpu, len_bytes, align_bytes).unwrap_err();
        for (len_bytes, align_bytes) in [(256 * SLOT, KIB4), (KIB4, 1 << 63), (u64::MAX - 4095, KIB4)] {
            let error = Error::NoRange { len_bytes, align_bytes, kind };
            refuses(cpu, error, || reserve(len_bytes, align_bytes));
        }
        refuses(cpu, Error::Empty { at: VirtAddr::new(0) }, || reserve(0, KIB4));
        for (len_bytes, align_bytes) in [(KIB4 + 1, KIB4), (KIB4, 0), (KIB4, 3 * KIB4), (KIB4, 2048)] {
            let error = Error::Unaligned { range: range(0, len_bytes), align_bytes };
            refuses(cpu, error, || reserve(len_bytes, align_bytes));
        }
    });
}

#[test]
fn free_addresses_in_too_many_pieces_are_refused_and_the_range_comes_back() {
    with_small_machine(|cpu| {
        let mut held: Vec<_> =
            (0..2 * FREE_RANGES_MAX).map(|_| Subtree::<Tracked>::reserve(cpu, KIB4, KIB4).unwrap()).collect();
        let mut odd = Vec::new();
        for index in (0..held.len()).rev().skip(1).step_by(2) {
            odd.push(held.remove(index));
        }
        let last = odd.pop().unwrap();
        for range in odd {
            Subtree::give_back(range).unwrap();
        }
        let (range, capacity) = (last.range(), FREE_RANGES_MAX);
        let before = state(cpu);
        let (error, last) = refused(Subtree::give_back(last));
        assert_eq!(error, Error::TooManyRanges { range, capacity });
        assert_eq!(state(cpu), before);
        let middle = VirtRange::new(VirtAddr::new(100 * SLOT), KIB4);
        let error = Error::TooManyRanges { range: middle, capacity };
        refuses(cpu, error, || Subtree::<Tracked>::reserve_at(cpu, middle).unwrap_err());
        Subtree::give_back(held.remove(1)).unwrap();
        Subtree::give_back(last).unwrap();
    });
}

#[test]
fn ranges_that_hold_something_are_not_given_back() {
    with_small_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 3 * MIB2 + 5 * KIB4), run::<Size4KiB, _>(cpu, 1), HEAP).unwrap();
        let (range, used) = (heap.range(), at(&heap, 3 * MIB2 + 5 * KIB4));
        let before = state(cpu);
        let (error, heap) = refused(Subtree::give_back(heap));
        assert_eq!(error, Error::StillMapped { range, at: used });
        assert_eq!(state(cpu), before);
        let heap = release(heap.unmap().unwrap());
        Subtree::give_back(heap).unwrap();
    });
}

#[test]
fn only_neighbours_of_one_machine_are_joined() {
    with_small_machine(|cpu| {
        let [a, b, c] = [0, 1, 2].map(|number| slot::<Tracked, _>(cpu, number));
        let error = Error::NotAdjacent { first: a.range(), second: c.range() };
        let (found, (a, c)) = refused(a.join(c));
        assert_eq!(found, error);
        let all = b.join(a).unwrap().join(c).unwrap();
        assert_eq!(all.range().len_bytes, 3 * SLOT);
        with_small_machine(|other| {
            let foreign = slot::<Tracked, _>(other, 3);
            let error = Error::NotAdjacent { first: all.range(), second: foreign.range() };
            assert_eq!(refused(all.join(foreign)).0, error, "of another address space");
        });
    });
}
