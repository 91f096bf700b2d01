//! Ranges cut and joined, and the tables that neighbours share.

use super::fixture::*;
use crate::memory::kind::Kind;
use crate::memory::page_size::{Size2MiB, Size4KiB};
use crate::memory::page_table::{Carved, Kva, Mmio, Tracked};
use crate::memory::subtree::Subtree;

#[test]
fn a_range_is_carved_and_joined_with_all_that_is_mapped_in_it() {
    with_machine(|cpu| {
        let before = state(cpu);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 100), HEAP).unwrap();
        let (whole, mapped) = (heap.range(), state(cpu));
        let (below, middle) = (part(&heap, 0, 10 * KIB4), part(&heap, 10 * KIB4, 20 * KIB4));
        let above = part(&heap, 30 * KIB4, SLOT - 30 * KIB4);
        let Carved { below: Some(first), middle: second, above: Some(third) } = heap.carve(middle).unwrap()
        else {
            panic!("three pieces")
        };
        assert_eq!((first.range(), second.range(), third.range()), (below, middle, above));
        assert_eq!([&first, &second, &third].map(|piece| leaves(piece).len()), [10, 20, 70]);
        assert!(first.query(middle.start).is_none(), "not its own");
        let second = release(second.unmap().unwrap());
        assert_eq!(state(cpu).audit.kind(Kind::Tracked).leaves, [80, 0, 0]);
        let heap = third.join(second).unwrap().join(first).unwrap();
        assert_eq!(heap.range(), whole);
        assert_eq!(state(cpu).audit.frames.tables, mapped.audit.frames.tables);
        let _heap = release(heap.detach().unwrap());
        assert_eq!(state(cpu), before);
    });
}

#[test]
fn carving_at_an_end_or_all_leaves_fewer_pieces() {
    with_small_machine(|cpu| {
        let heap = reserve::<Tracked, _>(cpu, 3 * KIB4);
        let whole = heap.range();
        let all = heap.carve(whole).unwrap();
        assert!(all.below.is_none() && all.above.is_none());
        let first = part(&all.middle, 0, KIB4);
        let cut = all.middle.carve(first).unwrap();
        assert!(cut.below.is_none());
        let heap = cut.above.unwrap().join(cut.middle).unwrap();
        let last = part(&heap, 2 * KIB4, KIB4);
        let cut = heap.carve(last).unwrap();
        assert!(cut.above.is_none());
        let heap = cut.below.unwrap().join(cut.middle).unwrap();
        assert_eq!(heap.range(), whole);
        Subtree::give_back(heap).unwrap();
    });
}

#[test]
fn neighbours_share_tables_and_neither_takes_them_from_the_other() {
    with_small_machine(|cpu| {
        let before = state(cpu);
        let both = slot::<Mmio, _>(cpu, 0);
        let whole = both.range();
        let (border, cut) = (MIB2 + 100 * KIB4, part(&both, 0, MIB2 + 100 * KIB4));
        let carved = both.carve(cut).unwrap();
        let (mut low, mut high) = (carved.middle, carved.above.unwrap());
        low.map(at(&low, border - 7 * KIB4), device::<Size4KiB, _>(&cpu, 0, 7), UNCACHED).unwrap();
        let tables = state(cpu).audit.frames.tables;
        high.map(at(&high, 0), device::<Size4KiB, _>(&cpu, 7 * KIB4, 9), UNCACHED).unwrap();
        assert_eq!(state(cpu).audit.frames.tables, tables, "the table is there");
        let low = release(low.detach().unwrap());
        let trimmed = low.trim();
        assert_eq!(trimmed.flush_range(), None, "it translates addresses of the neighbour");
        let low = release(trimmed);
        assert_eq!(leaves(&high).len(), 9);
        let high = release(high.detach().unwrap());
        let high = release(high.trim());
        let empty = state(cpu).audit;
        assert_eq!(empty.kind(Kind::Mmio).tables, [1, 1, 1]);
        assert_eq!(empty.kind(Kind::Mmio).leaves, [0; 3]);
        let both = low.join(high).unwrap();
        assert_eq!(both.range(), whole);
        let _both = release(both.trim());
        assert_eq!(state(cpu), before);
    });
}

#[test]
fn a_range_with_large_leaves_next_to_small_ones_of_a_neighbour() {
    with_machine(|cpu| {
        let before = state(cpu);
        let shown = run::<Size2MiB, _>(cpu, 1);
        let both = slot::<Kva, _>(cpu, 0);
        let cut = part(&both, 0, 5 * MIB2);
        let carved = both.carve(cut).unwrap();
        let (mut low, mut high) = (carved.middle, carved.above.unwrap());
        low.map(at(&low, 4 * MIB2), window::<Size2MiB, _>(&cpu, shown.start(), 1), KERNEL).unwrap();
        high.map(at(&high, 0), window::<Size4KiB, _>(&cpu, shown.start(), 512), KERNEL).unwrap();
        high.map(at(&high, MIB2), window::<Size2MiB, _>(&cpu, shown.start(), 1), KERNEL).unwrap();
        assert_eq!(state(cpu).audit.kind(Kind::Kva).leaves, [512, 2, 0]);
        let low = release(low.unmap().unwrap());
        assert_eq!(leaves(&high).len(), 513);
        let high = release(high.unmap().unwrap());
        let _both = release(low.join(high).unwrap().trim());
        drop(shown);
        assert_eq!(state(cpu), before);
    });
}

#[test]
fn addresses_are_given_out_once_and_again_after_they_came_back() {
    with_small_machine(|cpu| {
        let first = Subtree::<Tracked>::reserve(cpu, 5 * KIB4, KIB4).unwrap();
        let second = Subtree::<Tracked>::reserve(cpu, MIB2, MIB2).unwrap();
        let third = Subtree::<Tracked>::reserve(cpu, KIB4, KIB4).unwrap();
        let start = first.range().start.as_u64();
        assert_eq!(start, SLOT);
        assert_eq!(second.range().start.as_u64(), start + MIB2);
        assert_eq!(third.range().start.as_u64(), start + 5 * KIB4);
        Subtree::give_back(first).unwrap();
        let again = Subtree::<Tracked>::reserve(cpu, 6 * KIB4, KIB4).unwrap();
        assert_eq!(again.range().start.as_u64(), start + 6 * KIB4, "5 pages are too few");
        for range in [second, third, again] {
            Subtree::give_back(range).unwrap();
        }
        assert_eq!(Subtree::<Tracked>::reserve_longest(cpu).unwrap().range().len_bytes, 255 * SLOT);
    });
}
