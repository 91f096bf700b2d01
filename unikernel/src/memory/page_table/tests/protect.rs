//! Other attributes for what is mapped, and which of those changes await a flush.

use super::fixture::*;
use crate::memory::frame::Frame;
use crate::memory::page_size::{Size2MiB, Size4KiB};
use crate::memory::page_table::attributes::{DataAccess, KernelAccess};
use crate::memory::page_table::{Kva, Mmio, Tracked};

#[test]
fn what_lessens_rights_awaits_a_flush_and_what_adds_them_does_not() {
    with_machine(|cpu| {
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 510 * KIB4), run::<Size4KiB, _>(cpu, 4), DataAccess::ReadOnly).unwrap();
        heap.map(at(&heap, 2 * MIB2), run::<Size2MiB, _>(cpu, 1), DataAccess::ReadOnly).unwrap();
        let before = state(cpu).audit;
        let before_leaves = leaves(&heap);
        let loosened = heap.protect(DataAccess::ReadWrite).unwrap();
        assert_eq!(loosened.flush_range(), None);
        let heap = release(loosened);
        assert!(heap.leaves().all(|leaf| leaf.attributes == DataAccess::ReadWrite));
        let (first, both) = (at(&heap, 510 * KIB4), part(&heap, 510 * KIB4, 3 * MIB2 - 510 * KIB4));
        let tightened = heap.protect(DataAccess::ReadOnly).unwrap();
        assert_eq!(tightened.flush_range(), Some(both), "from {first} to the end of the large leaf");
        assert_eq!(state(cpu).audit.outstanding, 1);
        let heap = release(tightened);
        assert!(heap.leaves().all(|leaf| leaf.attributes == DataAccess::ReadOnly));
        let again = heap.protect(DataAccess::ReadOnly).unwrap();
        assert_eq!(again.flush_range(), None, "no change");
        let heap = release(again);
        assert_eq!(leaves(&heap), before_leaves, "the leaves stay where they are");
        assert_eq!(state(cpu).audit, before);
    });
}

#[test]
fn the_flush_covers_what_was_lessened_and_no_more() {
    with_small_machine(|cpu| {
        let mut kernel = slot::<Kva, _>(cpu, 0);
        let stack = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
        let text = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
        let pages = [
            (3, stack.start(), KernelAccess::ReadOnly),
            (5, text.start(), KernelAccess::ReadExecute),
            (7, stack.start(), KernelAccess::ReadWrite),
            (9, stack.start(), KernelAccess::ReadOnly),
        ];
        for (page, phys, access) in pages {
            kernel.map(at(&kernel, page * KIB4), window::<Size4KiB, _>(&cpu, phys, 1), access).unwrap();
        }
        let expected = part(&kernel, 5 * KIB4, 3 * KIB4);
        let lessened = kernel.protect(KernelAccess::ReadOnly).unwrap();
        assert_eq!(lessened.flush_range(), Some(expected), "execution and writing were lost there");
        let kernel = release(lessened);
        assert!(kernel.leaves().all(|leaf| leaf.attributes == KernelAccess::ReadOnly));
        let mut cursor = kernel.cursor();
        cursor.protect(inside(&cursor, 5 * KIB4, KIB4), KernelAccess::ReadExecute).unwrap();
        let found = [3, 5, 7, 9]
            .map(|page| cursor.query(inside(&cursor, page * KIB4, KIB4).start).unwrap().attributes);
        let (only, execute) = (KernelAccess::ReadOnly, KernelAccess::ReadExecute);
        assert_eq!(found, [only, execute, only, only], "that page alone");
        assert_eq!(cursor.finish().flush_range(), None);
        state(cpu);
    });
}

#[test]
fn another_cache_type_awaits_a_flush_in_either_direction() {
    with_small_machine(|cpu| {
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, 0), device::<Size4KiB, _>(&cpu, 0, 2), UNCACHED).unwrap();
        devices.map(at(&devices, MIB2), device::<Size2MiB, _>(&cpu, MIB2, 1), UNCACHED).unwrap();
        for cache in [WRITE_COMBINING, UNCACHED, WRITE_COMBINING] {
            let changed = devices.protect(cache).unwrap();
            assert_eq!(changed.flush_range().unwrap().len_bytes, 2 * MIB2);
            devices = release(changed);
            assert!(devices.leaves().all(|leaf| leaf.attributes == cache));
            assert_eq!(
                leaves(&devices)[2],
                (MIB2, MIB2, DEVICE + MIB2),
                "the PAT bit is none of the address"
            );
        }
        state(cpu);
    });
}

#[test]
fn what_is_not_mapped_is_not_protected() {
    with_small_machine(|cpu| {
        let before = state(cpu);
        let nothing = slot::<Tracked, _>(cpu, 0).protect(DataAccess::ReadOnly).unwrap();
        assert_eq!(nothing.flush_range(), None);
        let _range = release(nothing);
        assert_eq!(state(cpu), before);
    });
}
