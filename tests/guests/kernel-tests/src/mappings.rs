//! Mapping, unmapping and protecting in the live tables, seen through the processor's own walks.

use crate::Test;
use crate::heap_blocks::blocks_in_leaves_of;
use crate::machine::{
    audit, behind, done, free_frames, give_back, machine, read, released, reserve, shown, trim, walked, write,
};
use crate::walk::{PRESENT, end_of_walk};
use unikernel::memory::address::{PhysAddr, VirtAddr};
use unikernel::memory::frame::{Frame, FrameBatch, FrameRun};
use unikernel::memory::kind::Kind;
use unikernel::memory::live::{LocalFlush, MmioError, MmioWindow};
use unikernel::memory::page_size::{PageSize, Size1GiB, Size2MiB, Size4KiB};
use unikernel::memory::page_table::attributes::{DataAccess, DeviceCache, KernelAccess, MmioAttributes};
use unikernel::memory::page_table::{Error, Kva, KvaRun, Mmio, MmioRun, Tracked, flush};

pub(crate) const TESTS: &[Test] = &[
    ("mappings::a_remapped_page_shows_the_new_frame", a_remapped_page_shows_the_new_frame),
    ("mappings::pages_in_any_number_are_remapped", pages_in_any_number_are_remapped),
    ("mappings::protected_pages_keep_their_contents", protected_pages_keep_their_contents),
    ("mappings::whole_tables_of_every_kind_are_released", whole_tables_of_every_kind_are_released),
    ("mappings::what_awaits_a_flush_is_counted", what_awaits_a_flush_is_counted),
    ("mappings::a_thousand_changes_lose_nothing", a_thousand_changes_lose_nothing),
    ("mappings::without_free_frames_mapping_is_refused", without_free_frames_mapping_is_refused),
];

const PAGE_LEN: u64 = Size4KiB::LEN_BYTES;
/// A part of the device hole that no machine has a device in.
const NO_DEVICE: PhysAddr = PhysAddr::new(0xd000_0000);
const REGISTERS: MmioAttributes =
    MmioAttributes { access: DataAccess::ReadWrite, cache: DeviceCache::Uncached };

fn a_remapped_page_shows_the_new_frame() {
    let frame = || Frame::<Size4KiB, _>::allocate(machine());
    let (Ok(first), Ok(second)) = (frame(), frame()) else { panic!("no free frames") };
    let places = [first.start(), second.start()];
    for (phys, word) in places.into_iter().zip([0x1111, 0x2222]) {
        // SAFETY: the frame is this function's.
        unsafe { write(shown(phys), word) };
    }
    let mut range = reserve::<Tracked>(PAGE_LEN, PAGE_LEN);
    let at = range.range().start;
    done(range.map(at, first, DataAccess::ReadWrite));
    assert_eq!(read(at), 0x1111);
    assert_eq!(walked(at).map(|leaf| (leaf.phys, leaf.len_bytes)), Some((places[0].as_u64(), PAGE_LEN)));
    let mut flushed = flush(done(range.unmap()), &LocalFlush);
    let Some(first) = flushed.take_frame::<Size4KiB>(at) else { panic!("the frame that was unmapped") };
    range = flushed.release();
    assert_eq!(end_of_walk(at.as_u64()).read() & PRESENT, 0);

    done(range.map(at, second, DataAccess::ReadWrite));
    assert_eq!(read(at), 0x2222, "a stale translation");
    // SAFETY: mapped to a frame that is this function's.
    unsafe { write(at, 0x3333) };
    assert_eq!(read(shown(places[1])), 0x3333);
    assert_eq!(read(shown(places[0])), 0x1111, "the frame before was written to");
    assert!(audit().is_clean());
    drop(first);
    give_back(released(done(range.unmap())));
}

/// Few pages are flushed one by one, and many all at once.
fn pages_in_any_number_are_remapped() {
    /// Of a block of a MiB, whose first page may belong to others, too.
    const PAGES_MAX: u64 = 254;
    let blocks = blocks_in_leaves_of::<Size2MiB>(2);
    let pages = |block: &VirtAddr| VirtAddr::new(block.as_u64().next_multiple_of(PAGE_LEN));
    for (number, (block, _)) in (1..).zip(&blocks.chosen) {
        for page in 0..PAGES_MAX {
            // SAFETY: the block is this function's, and has so many pages.
            unsafe { write(behind(pages(block), page * PAGE_LEN), number << 32 | page) };
        }
    }
    for count in [1, 2, 3, 7, 31, 32, 33, 64, PAGES_MAX] {
        let mut range = reserve::<Kva>(count * PAGE_LEN, PAGE_LEN);
        let start = range.range().start;
        for (number, (block, leaf)) in (1..).zip(&blocks.chosen) {
            let phys = PhysAddr::new(leaf.phys_of(pages(block).as_u64()));
            let Ok(run) = KvaRun::<Size4KiB>::new(&machine(), phys, count) else {
                panic!("no RAM at {phys}")
            };
            done(range.map(start, run, KernelAccess::ReadOnly));
            for page in 0..count {
                let word = read(behind(start, page * PAGE_LEN));
                assert_eq!(word, number << 32 | page, "a stale translation of one of {count} pages");
            }
            range = released(done(range.unmap()));
        }
        give_back(range);
    }
}

fn protected_pages_keep_their_contents() {
    const PAGES: u64 = 8;
    let Ok(frames) = FrameRun::<Size4KiB, _>::allocate(machine(), PAGES) else { panic!("no free frames") };
    let mut range = reserve::<Tracked>(PAGES * PAGE_LEN, PAGE_LEN);
    let start = range.range().start;
    done(range.map(start, frames, DataAccess::ReadWrite));
    let pages = || (0..PAGES).map(|page| behind(start, page * PAGE_LEN));
    for (access, writable) in
        [(DataAccess::ReadOnly, false), (DataAccess::ReadWrite, true), (DataAccess::ReadOnly, false)]
    {
        for page in pages().filter(|page| walked(*page).is_some_and(|leaf| leaf.writable)) {
            // SAFETY: mapped writable, to frames of this function's.
            unsafe { write(page, page.as_u64()) };
        }
        range = released(done(range.protect(access)));
        for page in pages() {
            let leaf = walked(page);
            assert_eq!(leaf.map(|leaf| (leaf.writable, leaf.executable)), Some((writable, false)));
            assert_eq!(read(page), page.as_u64());
        }
    }
    assert!(audit().is_clean());
    give_back(released(done(range.unmap())));
}

/// Maps something in two tables of the last level, and takes both out at once, with what they hold.
fn whole_tables_of_every_kind_are_released() {
    const COUNT: u64 = 24;
    let table = Size2MiB::LEN_BYTES;
    let blocks = blocks_in_leaves_of::<Size2MiB>(1);
    let before = free_frames();
    let run = |count| FrameRun::<Size4KiB, _>::allocate(machine(), count);
    let (Ok(some), Ok(one)) = (run(COUNT), run(1)) else { panic!("no free frames") };
    let mut tracked = reserve::<Tracked>(2 * table, table);
    let start = tracked.range().start;
    done(tracked.map(start, some, DataAccess::ReadWrite));
    done(tracked.map(behind(start, 2 * table - PAGE_LEN), one, DataAccess::ReadWrite));
    for index in 0..COUNT {
        // SAFETY: mapped, to frames of this function's.
        unsafe { write(behind(start, index * PAGE_LEN), index) };
    }

    let (_, leaf) = blocks.chosen[0];
    let ram = PhysAddr::new(leaf.phys);
    let run = |start, count| KvaRun::<Size4KiB>::new(&machine(), start, count);
    let (Ok(all), Ok(one)) = (run(ram, 512), run(ram, 1)) else { panic!("{leaf:x?} is no RAM") };
    let mut kva = reserve::<Kva>(2 * table, table);
    let kva_start = kva.range().start;
    done(kva.map(kva_start, all, KernelAccess::ReadOnly));
    done(kva.map(behind(kva_start, table), one, KernelAccess::ReadOnly));
    assert_eq!(read(behind(kva_start, table)), read(shown(ram)));

    let run = |count| MmioRun::<Size4KiB>::new(&machine(), NO_DEVICE, count);
    let (Ok(all), Ok(one)) = (run(512), run(1)) else { panic!("RAM at {NO_DEVICE}") };
    let mut mmio = reserve::<Mmio>(2 * table, table);
    let mmio_start = mmio.range().start;
    done(mmio.map(mmio_start, all, REGISTERS));
    done(mmio.map(behind(mmio_start, table), one, REGISTERS));

    let starts = [start, kva_start, mmio_start];
    let level = |address: VirtAddr| {
        let end = end_of_walk(address.as_u64());
        (end.level, end.read() & PRESENT)
    };
    assert_eq!(starts.map(level), [(1, PRESENT); 3]);
    let report = audit();
    assert!(report.is_clean(), "{report}");
    // One flush for all three.
    let all = ((done(tracked.detach()), done(kva.detach())), done(mmio.detach()));
    assert_eq!(starts.map(level), [(2, 0); 3], "the tables are still there");
    let report = audit();
    assert!(report.is_clean() && report.outstanding == 3, "{report}");
    let (first, mmio) = flush(all, &LocalFlush).split();
    let (tracked, kva) = first.split();
    give_back(tracked.release());
    give_back(kva.release());
    give_back(mmio.release());
    trim();
    assert_eq!(free_frames(), before, "frames were lost");
}

/// The audit tells of what was unmapped, and takes none of it for lost, until it is released.
fn what_awaits_a_flush_is_counted() {
    const PAGES: u64 = 5;
    let Ok(frames) = FrameRun::<Size4KiB, _>::allocate(machine(), PAGES) else { panic!("no free frames") };
    let mut range = reserve::<Tracked>(PAGES * PAGE_LEN, PAGE_LEN);
    let start = range.range().start;
    done(range.map(start, frames, DataAccess::ReadWrite));
    let counts = || {
        let report = audit();
        assert!(report.is_clean(), "{report}");
        let tracked = report.kind(Kind::Tracked);
        (report.outstanding, tracked.leaves[0], tracked.detached_leaves[0], report.frames.free)
    };
    let (outstanding, live, detached, free) = counts();
    assert_eq!((outstanding, detached), (0, 0));
    let unmapped = done(range.unmap());
    assert_eq!(counts(), (1, live - PAGES, PAGES, free));
    let range = released(unmapped);
    assert_eq!(counts(), (0, live - PAGES, 0, free + PAGES));
    give_back(range);
}

/// The same address shows another frame each time.
fn a_thousand_changes_lose_nothing() {
    let mut range = reserve::<Tracked>(PAGE_LEN, PAGE_LEN);
    let at = range.range().start;
    // The frame of the last round is not free yet, so that this round's is another.
    let mut held = None;
    for round in 0..1000 {
        let Ok(frame) = Frame::<Size4KiB, _>::allocate(machine()) else {
            panic!("no frame in round {round}")
        };
        let phys = frame.start();
        // SAFETY: the frame is this function's.
        unsafe { write(shown(phys), round) };
        done(range.map(at, frame, DataAccess::ReadWrite));
        assert_eq!(read(at), round, "a stale translation");
        let mut flushed = flush(done(range.unmap()), &LocalFlush);
        held = flushed.take_frame::<Size4KiB>(at);
        assert_eq!(held.as_ref().map(Frame::start), Some(phys));
        range = flushed.release();
    }
    drop(held);
    give_back(range);
}

/// And unmapping, which needs no memory, is not.
fn without_free_frames_mapping_is_refused() {
    let Ok(frame) = Frame::<Size4KiB, _>::allocate(machine()) else { panic!("no free frame") };
    // Far from each other, so that each needs tables of its own.
    let mut first = reserve::<Tracked>(Size1GiB::LEN_BYTES, Size1GiB::LEN_BYTES);
    let mut second = reserve::<Tracked>(Size1GiB::LEN_BYTES, Size1GiB::LEN_BYTES);
    let (start, elsewhere) = (first.range().start, second.range().start);
    done(first.map(start, frame, DataAccess::ReadWrite));
    // SAFETY: mapped, to a frame of this function's.
    unsafe { write(start, 0x5eed) };
    let Ok(spare) = Frame::<Size4KiB, _>::allocate(machine()) else { panic!("no free frame") };
    let mut all = FrameBatch::<Size4KiB, _>::new(machine());
    while let Ok(run) = FrameRun::<Size4KiB, _>::allocate(machine(), 1) {
        assert!(all.push(run).is_ok());
    }
    assert_eq!(free_frames(), 0);
    let report = audit();
    assert!(report.is_clean(), "{report}");

    let Err(refused) = second.map(elsewhere, spare, DataAccess::ReadWrite) else {
        panic!("no table is left")
    };
    assert!(matches!(refused.error, Error::OutOfFrames { .. }), "{}", refused.error);
    let spare = refused.input;
    // Too long for the table that the local APIC may have left room in.
    let len = 2 * Size2MiB::LEN_BYTES + PAGE_LEN;
    // SAFETY: nothing is done through the window.
    let window = unsafe { MmioWindow::map("no device", NO_DEVICE, len, REGISTERS) };
    assert!(matches!(window, Err(MmioError::Map(Error::OutOfFrames { .. }))), "{window:?}");
    assert_eq!(read(start), 0x5eed);
    let report = audit();
    assert!(report.is_clean(), "{report}");
    first = released(done(first.detach()));
    assert_eq!(free_frames(), 3, "the page, and two tables");
    done(second.map(elsewhere, spare, DataAccess::ReadWrite));
    second = released(done(second.detach()));
    drop(all);
    give_back(first);
    give_back(second);
}
