//! The source of ranges over a simulated machine.

use super::{BLOCK_LEN, DemandRanges, NotPaged, PageMap, Pager};
use crate::memory::PAGE_LEN;
use crate::memory::address::VirtAddr;
use crate::memory::atomic::{AtomicU8, AtomicU64};
use crate::memory::audit::audit;
use crate::memory::frame::{Frame, FrameSource};
use crate::memory::heap::{End, GRANULE_LEN, OneRange, RangeSource};
use crate::memory::page_size::Size2MiB;
use crate::memory::page_table::{Paging, Tracked};
use crate::memory::simulation::{NoTlb, PVM, RING_0, SimulatedCpu, SimulatedRam, Simulation};
use crate::memory::subtree::Subtree;
use alloc::vec;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::{self, NonNull};

pub(super) type Source<'a> = DemandRanges<'a, SimulatedCpu<'a>, NoTlb>;
/// What small pages are mapped of at once.
const AROUND: u64 = GRANULE_LEN as u64;
pub(super) const KIB: usize = 1 << 10;
pub(super) const BLOCK: usize = BLOCK_LEN as usize;

/// A pager over a region of so many blocks, in a machine of so many frames, and its source.
pub(super) fn with_source(
    paging: Paging,
    frames: usize,
    blocks: usize,
    test: impl FnOnce(&Pager<'_, SimulatedCpu<'_>>, &mut Source<'_>),
) {
    assert!(with_source_if_it_boots(paging, frames, blocks, test), "{frames} frames are too few");
}

/// The same; says whether there were enough frames for the tables of the region.
pub(super) fn with_source_if_it_boots(
    paging: Paging,
    frames: usize,
    blocks: usize,
    test: impl FnOnce(&Pager<'_, SimulatedCpu<'_>>, &mut Source<'_>),
) -> bool {
    let mut ram = SimulatedRam::new(frames, frames, 1);
    let machine = Simulation::new(&mut ram, paging, core::slice::from_ref(&(0..frames as u64))).unwrap();
    let Ok((cpu, _)) = machine.boot() else { return false };
    let words: Vec<_> = (0..PageMap::words_for(blocks)).map(|_| AtomicU64::new(0)).collect();
    let bytes: Vec<_> = (0..blocks).map(|_| AtomicU8::new(0)).collect();
    let len_bytes = blocks as u64 * BLOCK_LEN;
    let range = Subtree::<Tracked>::reserve(cpu, len_bytes, BLOCK_LEN).unwrap();
    let base = range.range().start.as_u64() as usize;
    let map = PageMap::new(&words, &bytes);
    let Ok(pager) = Pager::new(cpu, range, map, AROUND) else { return false };
    let granules = len_bytes as usize / GRANULE_LEN;
    // Room for a note a granule, and one on either side.
    let mut notes = vec![0_u128; granules + 2];
    // SAFETY: the notes are the source's, long and aligned enough; the granules are never touched.
    let addresses = unsafe {
        OneRange::apart(
            notes.as_mut_ptr().cast(),
            ptr::without_provenance_mut(base),
            granules as u32,
            len_bytes,
        )
    };
    // SAFETY: it is the pager's only source.
    let mut source = unsafe { Source::over(&pager, addresses, base, NoTlb::default()) };
    let free = cpu.frames().statistics().free;
    test(&pager, &mut source);
    source.trim();
    check(&pager);
    assert_eq!((pager.credit_frames(), pager.handed_out_bytes()), (0, 0), "all was given back");
    assert_eq!(cpu.frames().statistics().free, free, "and so were the frames and tables");
    true
}

/// The ledger, the allocator and the tables agree.
pub(super) fn check(pager: &Pager<'_, SimulatedCpu<'_>>) {
    assert_eq!(pager.credit_frames(), pager.expected_credit_frames());
    assert_eq!(pager.credit_frames(), pager.machine().frames().promised());
    let report = audit(pager.machine());
    assert!(report.is_clean(), "{report}");
}

pub(super) fn layout(len_bytes: usize, align: usize) -> Layout {
    Layout::from_size_align(len_bytes, align).unwrap()
}

pub(super) fn address(start: NonNull<u8>, offset: usize) -> VirtAddr {
    VirtAddr::new((start.addr().get() + offset) as u64)
}

#[test]
fn what_is_handed_out_is_mapped_when_it_is_touched_and_nothing_else() {
    with_source(RING_0, 2048, 8, |pager, source| {
        let range = source.take(layout(2 * GRANULE_LEN, GRANULE_LEN), End::Low).unwrap();
        assert_eq!(pager.mapped().small, 0);
        assert_eq!(pager.credit_frames(), 8 + 1, "a frame for each page, and one for their table");
        for _ in 0..2 {
            assert_eq!(pager.page_in(address(range, 5000)), Ok(PAGE_LEN));
            assert_eq!((pager.mapped().small, pager.credit_frames()), (4, 4), "all of the granule");
        }
        let behind = address(range, 2 * GRANULE_LEN);
        assert_eq!(pager.page_in(behind), Err(NotPaged::NotHandedOut));
        let end = pager.region().start.as_u64() + pager.region().len_bytes;
        assert_eq!(pager.page_in(VirtAddr::new(end)), Err(NotPaged::Outside));
        assert_eq!(pager.page_in(VirtAddr::new(0)), Err(NotPaged::Outside));
        // SAFETY: taken above.
        unsafe { source.give_back(range, 2 * GRANULE_LEN) };
    });
}

#[test]
fn whole_blocks_come_by_large_leaves_while_there_are_frames_for_those() {
    for paging in [RING_0, PVM] {
        with_source(paging, 4096, 16, |pager, source| {
            // A frame of each 2 MiB, but for one, is somebody else's.
            let large = |_| Frame::<Size2MiB, _>::allocate(pager.machine()).ok();
            let mut all: Vec<_> = (0..).map_while(large).collect();
            let whole = all.pop();
            let _kept: Vec<_> = all.into_iter().map(|frame| frame.split().split_first().0).collect();
            drop(whole);
            let range = source.take(layout(2 * BLOCK + GRANULE_LEN, GRANULE_LEN), End::Low).unwrap();
            assert!(range.addr().get().is_multiple_of(BLOCK));
            assert_eq!(pager.page_in(address(range, BLOCK - 1)), Ok(BLOCK_LEN));
            assert_eq!((pager.mapped().large, pager.faults().large), (1, 1));
            // The tail is not a whole block.
            assert_eq!(pager.page_in(address(range, 2 * BLOCK)), Ok(PAGE_LEN));
            assert_eq!((pager.mapped().large, pager.mapped().small), (1, 4));
            assert_eq!(pager.page_in(address(range, BLOCK)), Ok(PAGE_LEN));
            assert_eq!((pager.mapped().large, pager.mapped().small), (1, 8));
            assert_eq!(pager.faults().large_missed, 1);
            check(pager);
            // SAFETY: taken above.
            unsafe { source.give_back(range, 2 * BLOCK + GRANULE_LEN) };
        });
    }
}

#[test]
fn what_cant_be_honoured_is_refused_at_once_and_changes_nothing() {
    with_source(RING_0, 2048, 64, |pager, source| {
        let free = source.free_bytes() as usize;
        let all = free - free % GRANULE_LEN;
        assert_eq!(source.take(layout(all, GRANULE_LEN), End::Low), None, "no frame is left for tables");
        let most = source.largest_free_bytes() as usize;
        assert!(most + 2 * GRANULE_LEN >= all);
        let range = source.take(layout(most, GRANULE_LEN), End::Low).unwrap();
        assert_eq!(source.take(layout(GRANULE_LEN, GRANULE_LEN), End::High), None);
        // SAFETY: taken above.
        unsafe { assert!(!source.grow(range, most, most + 4 * BLOCK)) };
        check(pager);
        // Every page of it can be touched, with nothing else left.
        for page in (0..most).step_by(PAGE_LEN as usize) {
            assert!(pager.page_in(address(range, page)).is_ok(), "page at {page:#x} of {most:#x}");
        }
        check(pager);
        // SAFETY: taken above.
        unsafe { source.give_back(range, most) };
    });
}

#[test]
fn a_range_shrinks_by_whole_leaves_and_grows_again() {
    with_source(RING_0, 2600, 32, |pager, source| {
        let len = 3 * BLOCK;
        let range = source.take(layout(len, GRANULE_LEN), End::Low).unwrap();
        (0..3).for_each(|block| assert_eq!(pager.page_in(address(range, block * BLOCK)), Ok(BLOCK_LEN)));
        assert_eq!(pager.mapped().large, 3);
        let shorter = BLOCK + 5 * GRANULE_LEN;
        // SAFETY: the range is given out with these lengths.
        unsafe {
            source.shrink(range, len, shorter);
            check(pager);
            assert_eq!(pager.mapped().large, 2, "the leaf that the end lies in stays");
            assert!(source.grow(range, shorter, len));
            check(pager);
            assert_eq!(pager.page_in(address(range, 2 * BLOCK)), Ok(BLOCK_LEN));
            assert_eq!(pager.mapped().large, 3);
            source.shrink(range, len, GRANULE_LEN);
            check(pager);
            source.give_back(range, GRANULE_LEN);
        }
    });
}

#[test]
fn what_was_given_back_is_kept_mapped_for_the_next_of_its_length() {
    with_source(RING_0, 8192, 32, |pager, source| {
        let layout = layout(8 * GRANULE_LEN, GRANULE_LEN);
        let range = source.take(layout, End::High).unwrap();
        assert_eq!(pager.page_in(address(range, 0)), Ok(PAGE_LEN));
        // SAFETY: taken above.
        unsafe { source.give_back(range, layout.size()) };
        assert_eq!(source.take(layout, End::Low), Some(range));
        assert_eq!(pager.mapped().small, 4, "still");
        // SAFETY: taken above.
        unsafe { source.give_back(range, layout.size()) };
        let zeroed = source.take_zeroed(layout, End::Low).unwrap();
        assert_ne!(zeroed, range, "that one is not all zeros");
        source.trim();
        assert_eq!(pager.mapped().small, 0);
        // SAFETY: taken above.
        unsafe { source.give_back(zeroed, layout.size()) };
    });
}

#[test]
fn what_was_shrunk_inside_of_a_large_leaf_is_not_kept() {
    with_source(RING_0, 8192, 32, |pager, source| {
        let range = source.take(layout(2 * BLOCK, GRANULE_LEN), End::Low).unwrap();
        assert_eq!(pager.page_in(address(range, 0)), Ok(BLOCK_LEN));
        // SAFETY: the range is given out with these lengths.
        unsafe {
            source.shrink(range, 2 * BLOCK, GRANULE_LEN);
            assert_eq!(pager.handed_out_bytes(), BLOCK_LEN, "the leaf stays");
            source.give_back(range, GRANULE_LEN);
        }
        assert_eq!(
            (pager.handed_out_bytes(), pager.mapped().large),
            (0, 0),
            "2 MiB for what asks for 16 KiB"
        );
    });
}

#[test]
fn a_range_moves_with_its_pages_and_grows() {
    for paging in [RING_0, PVM] {
        with_source(paging, 2600, 32, |pager, source| {
            let len = BLOCK + 6 * GRANULE_LEN;
            let range = source.take(layout(len, GRANULE_LEN), End::Low).unwrap();
            let neighbour = source.take(layout(GRANULE_LEN, GRANULE_LEN), End::Low).unwrap();
            assert_eq!(pager.page_in(address(range, 5)), Ok(BLOCK_LEN));
            assert_eq!(pager.page_in(address(range, BLOCK)), Ok(PAGE_LEN));
            let mapped = pager.mapped();
            let new = layout(3 * BLOCK, GRANULE_LEN);
            // SAFETY: taken above; the rest is given back at its new place.
            let moved = unsafe { source.relocate(range, len, new) }.unwrap();
            assert_ne!(moved, range);
            assert_eq!(pager.mapped(), mapped);
            check(pager);
            assert_eq!(pager.page_in(address(range, 5)), Err(NotPaged::NotHandedOut));
            assert_eq!(pager.page_in(address(moved, 2 * BLOCK)), Ok(BLOCK_LEN));
            assert_eq!(pager.page_in(address(moved, BLOCK + 7 * GRANULE_LEN)), Ok(PAGE_LEN));
            assert_eq!(pager.mapped().small, mapped.small + 4);
            check(pager);
            // There is no credit for that: nothing changes.
            let free = source.free_bytes() as usize;
            let too_long = layout(3 * BLOCK + free.next_multiple_of(GRANULE_LEN), GRANULE_LEN);
            // SAFETY: as above.
            assert_eq!(unsafe { source.relocate(moved, 3 * BLOCK, too_long) }, None);
            check(pager);
            // SAFETY: taken above.
            unsafe {
                source.give_back(moved, 3 * BLOCK);
                source.give_back(neighbour, GRANULE_LEN);
            }
        });
    }
}

#[test]
fn parts_go_back_by_whole_granules_and_leaves() {
    with_source(RING_0, 2600, 32, |pager, source| {
        let range = source.reserve_pages(4 * BLOCK).unwrap();
        let start = range.addr().get();
        assert_eq!(pager.page_in(address(range, 0)), Ok(BLOCK_LEN));
        let credit = pager.credit_frames();
        // SAFETY: reserved above, and used by nobody.
        unsafe {
            assert!(source.give_back_part(start + 1..start + BLOCK - 1).is_empty(), "inside of a large leaf");
            let gone = source.give_back_part(start + 5..start + 3 * BLOCK + 5 * GRANULE_LEN + 1);
            assert_eq!(gone, start + BLOCK..start + 3 * BLOCK + 5 * GRANULE_LEN);
            check(pager);
            assert_eq!(credit - pager.credit_frames(), 2 * 513 + 5 * 4);
            assert_eq!(pager.page_in(address(range, BLOCK)), Err(NotPaged::NotHandedOut));
            assert_eq!(pager.page_in(address(range, 4 * BLOCK - 1)), Ok(PAGE_LEN), "no whole block any more");
            assert!(source.hand_out_again(start + BLOCK..start + 4 * BLOCK));
            assert_eq!(pager.page_in(address(range, BLOCK)), Ok(BLOCK_LEN));
            check(pager);
            source.give_back_pages(range);
        }
    });
}
