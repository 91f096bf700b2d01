//! What a shootdown is asked for, and what its proof opens.

use super::fixture::*;
use crate::memory::frame::{Frame, FrameSource};
use crate::memory::page_size::{Size2MiB, Size4KiB};
use crate::memory::page_table::{
    Detached, FlushRequest, Mmio, Obligation, Shootdown, Tracked, VirtRange, flush,
};
use crate::memory::simulation::{NoTlb, RING_0, SimulatedCpu};
use alloc::vec::Vec;
use core::cell::RefCell;

/// What a request named: its pages, if there are at most 4, and its ranges.
type Named = (Option<Vec<u64>>, Option<Vec<VirtRange>>);

/// Keeps what each request named.
#[derive(Default)]
struct Recorder(RefCell<Vec<Named>>);

// SAFETY: 1 to 3, no processor ever loaded a simulated table, so none has a translation.
unsafe impl Shootdown<SimulatedCpu<'_>> for Recorder {
    fn invalidate(&self, request: &FlushRequest) {
        assert!(!request.is_empty());
        let pages = request.pages(4).map(|pages| pages.map(|page| page.as_u64()).collect());
        self.0.borrow_mut().push((pages, request.ranges().map(Iterator::collect)));
    }
}

impl Recorder {
    /// The one request that there was.
    fn only(self) -> Named {
        let mut requests = self.0.into_inner();
        assert_eq!(requests.len(), 1);
        requests.remove(0)
    }
}

/// Device registers in slot `number`, `pages` of them, all taken out.
fn taken_out(cpu: SimulatedCpu<'_>, number: u64, pages: u64) -> Detached<Mmio, SimulatedCpu<'_>> {
    let mut devices = slot::<Mmio, _>(cpu, number);
    let place = at(&devices, KIB4);
    devices.map(place, device::<Size4KiB, _>(&cpu, 0, pages), UNCACHED).unwrap();
    let mut cursor = devices.cursor();
    cursor.unmap(inside(&cursor, KIB4, pages * KIB4)).unwrap();
    cursor.finish()
}

fn asked_for<'a>(obligation: impl Obligation<Machine = SimulatedCpu<'a>>) -> Named {
    let recorder = Recorder::default();
    let _flushed = flush(obligation, &recorder);
    recorder.only()
}

#[test]
fn few_pages_are_named_and_many_are_not() {
    with_small_machine(|cpu| {
        for (slot, count) in [(0, 1), (1, 4), (2, 5)] {
            let detached = taken_out(cpu, slot, count);
            let start = detached.range().start.as_u64() + KIB4;
            let range = detached.flush_range().unwrap();
            assert_eq!((range.start.as_u64(), range.len_bytes), (start, count * KIB4));
            let (pages, ranges) = asked_for(detached);
            let named = (0..count).map(|page| start + page * KIB4).collect();
            assert_eq!(pages, (count <= 4).then_some(named), "{count} pages");
            assert_eq!(ranges, Some(alloc::vec![range]));
        }
    });
}

#[test]
fn a_large_leaf_is_one_page_to_flush_unless_small_ones_lie_beside_it() {
    with_small_machine(|cpu| {
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, MIB2), device::<Size2MiB, _>(&cpu, 0, 3), UNCACHED).unwrap();
        let start = at(&devices, MIB2).as_u64();
        assert_eq!(asked_for(devices.unmap().unwrap()).0.unwrap(), [start, start + MIB2, start + 2 * MIB2]);
        let mut devices = slot::<Mmio, _>(cpu, 1);
        devices.map(at(&devices, 0), device::<Size2MiB, _>(&cpu, 0, 1), UNCACHED).unwrap();
        devices.map(at(&devices, MIB2), device::<Size4KiB, _>(&cpu, 0, 1), UNCACHED).unwrap();
        let hull = part(&devices, 0, MIB2 + KIB4);
        let mut cursor = devices.cursor();
        cursor.unmap(hull).unwrap();
        assert_eq!(asked_for(cursor.finish()), (None, Some(alloc::vec![hull])), "513 pages");
        let mut devices = slot::<Mmio, _>(cpu, 2);
        for offset in [0, 2 * MIB2] {
            devices.map(at(&devices, offset), device::<Size2MiB, _>(&cpu, 0, 1), UNCACHED).unwrap();
        }
        devices.map(at(&devices, MIB2 + KIB4), device::<Size4KiB, _>(&cpu, 0, 1), UNCACHED).unwrap();
        let mut cursor = devices.cursor();
        cursor.unmap(inside(&cursor, 0, MIB2)).unwrap();
        cursor.unmap(inside(&cursor, 2 * MIB2, MIB2)).unwrap();
        cursor.unmap(inside(&cursor, MIB2 + KIB4, KIB4)).unwrap();
        assert_eq!(asked_for(cursor.finish()).0, None, "a small page between large ones");
    });
}

#[test]
fn one_request_serves_two_obligations_and_none_what_owes_nothing() {
    with_small_machine(|cpu| {
        let before = state(cpu);
        let (first, second) = (taken_out(cpu, 0, 1), taken_out(cpu, 1, 2));
        let ranges = [first.flush_range(), second.flush_range()].map(Option::unwrap);
        assert_eq!(state(cpu).audit.outstanding, 2);
        let recorder = Recorder::default();
        let (first, second) = flush((first, second), &recorder).split();
        let (pages, named) = recorder.only();
        assert_eq!(pages.unwrap().len(), 3);
        assert_eq!(named.unwrap(), ranges);
        let (first, second) = (first.release(), second.release());
        assert_eq!(state(cpu).audit.outstanding, 0);
        let tlb = NoTlb::default();
        let (first, second) = flush((first.trim(), second.trim()), &tlb).split();
        assert_eq!(tlb.requests(), 1);
        let (first, second) = (first.release(), second.release());
        assert_eq!(state(cpu), before);
        let nothing = flush((first.trim(), second.unmap().unwrap()), &tlb);
        assert_eq!(tlb.requests(), 1, "nothing was there");
        drop(nothing.split());
    });
}

#[test]
fn more_ranges_than_can_be_named_are_flushed_as_all() {
    with_small_machine(|cpu| {
        let two = |first| (taken_out(cpu, first, 1), taken_out(cpu, first + 1, 1));
        let eight = || ((two(0), two(2)), (two(4), two(6)));
        let (pages, ranges) = asked_for(eight());
        assert_eq!((pages, ranges.unwrap().len()), (None, 8));
        let nine = (((two(8), two(10)), (two(12), two(14))), taken_out(cpu, 16, 1));
        assert_eq!(asked_for(nine), (None, None));
    });
}

#[test]
fn the_frame_of_a_flushed_leaf_is_taken_out_instead_of_freed() {
    with_machine(|cpu| {
        let before = state(cpu);
        let mut heap = slot::<Tracked, _>(cpu, 0);
        let frames = run::<Size4KiB, _>(cpu, 5);
        let start = frames.start();
        heap.map(at(&heap, 0), frames, HEAP).unwrap();
        let large = Frame::<Size2MiB, _>::allocate(cpu).unwrap();
        let large_start = large.start();
        heap.map(at(&heap, MIB2), large, HEAP).unwrap();
        let (page, live, block) = (at(&heap, KIB4), at(&heap, 4 * KIB4), at(&heap, MIB2));
        let mut cursor = heap.cursor();
        cursor.unmap(inside(&cursor, 0, 4 * KIB4)).unwrap();
        cursor.unmap(inside(&cursor, MIB2, MIB2)).unwrap();
        let mut flushed = flush(cursor.finish(), &NoTlb::default());
        assert!(flushed.take_frame::<Size4KiB>(live).is_none(), "it is mapped");
        assert!(flushed.take_frame::<Size2MiB>(page).is_none(), "not aligned");
        assert!(flushed.take_frame::<Size4KiB>(block).is_none(), "of another size");
        let taken = flushed.take_frame::<Size4KiB>(page).unwrap();
        assert_eq!(taken.start().as_u64(), start.as_u64() + KIB4);
        assert!(flushed.take_frame::<Size4KiB>(page).is_none(), "once");
        let taken_large = flushed.take_frame::<Size2MiB>(block).unwrap();
        assert_eq!(taken_large.start(), large_start);
        assert_eq!(state(cpu).audit.frames.held, 1 + 512);
        let mut heap = flushed.release();
        assert_eq!(state(cpu).audit.frames.held, 1 + 512);
        assert_eq!(leaves(&heap), [(4 * KIB4, KIB4, start.as_u64() + 4 * KIB4)]);
        heap.map(page, taken, HEAP).unwrap();
        assert_eq!(state(cpu).audit.frames.held, 512, "the same frame, mapped again");
        drop(taken_large);
        let _heap = release(heap.detach().unwrap());
        assert_eq!(state(cpu), before);
        assert_eq!(cpu.frames().statistics().double_frees, 0);
    });
}

#[test]
fn no_frame_is_taken_where_another_range_awaits_its_flush() {
    with_small_machine(|cpu| {
        let mut both = slot::<Tracked, _>(cpu, 0);
        both.map(at(&both, 0), run::<Size4KiB, _>(cpu, 8), HEAP).unwrap();
        let cut = part(&both, 0, 4 * KIB4);
        let carved = both.carve(cut).unwrap();
        let waiting = carved.above.unwrap().unmap().unwrap();
        let mut flushed = flush(carved.middle.unmap().unwrap(), &NoTlb::default());
        let before = state(cpu);
        assert!(flushed.take_frame::<Size4KiB>(waiting.range().start).is_none());
        assert_eq!(state(cpu), before);
        let _both = flushed.release().join(release(waiting)).unwrap();
        assert_eq!(state(cpu).audit.frames.heap, 0);
    });
}

#[test]
fn the_right_over_another_machine_with_the_same_layout_flushes_nothing_here() {
    with_frames(512, RING_0, |_, other| {
        with_frames(512, RING_0, |cpu, _| {
            let mut heap = slot::<Tracked, _>(cpu, 0);
            heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 3), HEAP).unwrap();
            assert!(other.flush(heap.detach().unwrap()).is_err());
        });
    });
}
