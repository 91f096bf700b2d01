//! Pages that come on demand, with credit, and go back.

use crate::Test;
use crate::machine::{Balance, audit, free_frames, machine, walked};
use alloc::alloc::{alloc, alloc_zeroed, dealloc};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::hint::black_box;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use unikernel::cpu::clock::Instant;
use unikernel::cpu::interrupts;
use unikernel::cpu::timer::Timer;
use unikernel::heap::{
    AfterFailure, LeafPages, Pages, PagesError, prefault, set_out_of_memory_handler, statistics, trim,
};
use unikernel::memory::address::VirtAddr;
use unikernel::memory::frame::{Frame, FrameBatch};
use unikernel::memory::live::{Live, physical_address};
use unikernel::memory::page_size::{PageSize, Size1GiB, Size2MiB, Size4KiB};

pub(crate) const TESTS: &[Test] = &[
    ("heap_pages::come_when_they_are_touched_and_are_zeros", come_when_they_are_touched_and_are_zeros),
    ("heap_pages::whole_blocks_come_as_large_pages", whole_blocks_come_as_large_pages),
    ("heap_pages::zeroed_memory_is_not_touched", zeroed_memory_is_not_touched),
    ("heap_pages::come_in_the_handlers_of_interrupts", come_in_the_handlers_of_interrupts),
    ("heap_pages::come_while_interrupts_are_masked", come_while_interrupts_are_masked),
    ("heap_pages::come_when_no_other_frame_is_free", come_when_no_other_frame_is_free),
    ("heap_pages::what_cant_be_honoured_is_refused_at_once", what_cant_be_honoured_is_refused_at_once),
    ("heap_pages::parts_go_back_and_are_reserved_again", parts_go_back_and_are_reserved_again),
    ("heap_pages::are_mapped_beforehand_on_request", are_mapped_beforehand_on_request),
    ("heap_pages::of_a_chosen_size_never_fault", of_a_chosen_size_never_fault),
    ("heap_pages::a_block_moves_with_its_frames", a_block_moves_with_its_frames),
    ("heap_pages::more_than_half_of_memory_grows", more_than_half_of_memory_grows),
    ("heap_pages::alignments_up_to_1_gib", alignments_up_to_1_gib),
    ("heap_pages::a_handler_makes_room_for_what_failed", a_handler_makes_room_for_what_failed),
    ("heap_pages::churn_leaves_nothing_behind", churn_leaves_nothing_behind),
];

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const PAGE: usize = 4 * KIB;

fn pages(len_bytes: usize) -> Pages {
    Pages::reserve(len_bytes).unwrap_or_else(|error| panic!("{error}"))
}

fn part(pages: &mut Pages, start: usize, len: usize) -> &mut [u8] {
    let Some(part) = pages.part_mut(start..start + len) else { panic!("{start}..{}", start + len) };
    part
}

fn is_mapped(pages: &mut Pages, offset: usize) -> bool {
    physical_address(VirtAddr::new((pages.as_mut_ptr() as usize + offset) as u64)).is_some()
}

fn check_audit() {
    let report = audit();
    assert!(report.is_clean(), "{report}");
}

fn come_when_they_are_touched_and_are_zeros() {
    // Frames with other contents come first.
    let mut dirty = pages(MIB);
    part(&mut dirty, 0, MIB).fill(0xff);
    drop(dirty);
    let mut memory = pages(MIB);
    let before = statistics();
    for page in [0, 255, 57, 100] {
        assert!(!is_mapped(&mut memory, page * PAGE), "page {page} was not touched");
        let bytes = part(&mut memory, page * PAGE, PAGE);
        assert!(bytes.iter().all(|byte| *byte == 0), "page {page}");
        bytes.fill(page as u8);
        assert!(is_mapped(&mut memory, page * PAGE));
        check_audit();
    }
    let after = statistics();
    assert_eq!(after.faults.small - before.faults.small, 4);
    // With what lies around: 16 KiB or 64, or less at an end.
    let mapped = after.mapped.small - before.mapped.small;
    assert!((16..=64).contains(&mapped), "{mapped} pages by 4 faults");
    // A table may have been there.
    let spent = (before.credit_bytes - after.credit_bytes) / PAGE as u64;
    assert!((mapped..=mapped + 1).contains(&spent), "{spent} frames of credit");
    for page in [0, 255, 57, 100] {
        assert!(part(&mut memory, page * PAGE, PAGE).iter().all(|byte| *byte == page as u8));
    }
}

fn whole_blocks_come_as_large_pages() {
    let mut memory = pages(5 * MIB);
    let before = statistics();
    part(&mut memory, 2 * MIB - 1, 2).fill(1);
    let after = statistics();
    assert_eq!(after.faults.large - before.faults.large, 2, "{after:?}");
    part(&mut memory, 4 * MIB, 1)[0] = 1;
    assert!(statistics().mapped.small > after.mapped.small, "the rest is no whole block");
    let large: Vec<_> =
        (0..4).map(|mib| walked(VirtAddr::new((memory.as_mut_ptr() as usize + mib * MIB) as u64))).collect();
    assert!(
        large.iter().all(|leaf| leaf.is_some_and(|leaf| leaf.len_bytes == Size2MiB::LEN_BYTES)),
        "{large:x?}"
    );
    check_audit();
}

fn zeroed_memory_is_not_touched() {
    let Ok(layout) = Layout::from_size_align(8 * MIB, 8) else { unreachable!() };
    // SAFETY: the layout has a size; the blocks are freed with it, and not used after.
    unsafe {
        let dirty = black_box(alloc(layout));
        assert!(!dirty.is_null());
        dirty.write_bytes(0xff, layout.size());
        dealloc(dirty, layout);
        let before = statistics().faults;
        let zeroed = black_box(alloc_zeroed(layout));
        assert!(!zeroed.is_null());
        let faults = statistics().faults;
        assert!(
            faults.small + faults.large <= before.small + before.large + 1,
            "{faults:?} after {before:?}"
        );
        assert!((0..layout.size()).step_by(512).all(|at| zeroed.add(at).read_volatile() == 0));
        dealloc(zeroed, layout);
    }
}

/// Memory that nobody has touched, for a timer's function.
static UNTOUCHED: [AtomicPtr<u8>; 16] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 16];
static TOUCHES: AtomicUsize = AtomicUsize::new(0);

/// Touches as many pieces as its argument says.
fn touch(count: usize) {
    for (number, piece) in UNTOUCHED.iter().enumerate().take(count) {
        // SAFETY: the test has so many pieces.
        unsafe { piece.load(Ordering::Relaxed).write_volatile(number as u8) };
    }
    TOUCHES.fetch_add(1, Ordering::Relaxed);
}

fn timer(delay: Duration, count: usize) -> Timer {
    Timer::after(delay, touch, count).unwrap_or_else(|error| panic!("{error}"))
}

/// Timers' functions fault, between faults and allocations of what they interrupt, and in the middle of them, in blocks whose
/// other parts come and go meanwhile.
fn come_in_the_handlers_of_interrupts() {
    for round in 0..50_u32 {
        // Between them there is room for what comes and goes.
        let mut pieces: Vec<Pages> = (0..32).map(|_| pages(48 * KIB)).collect();
        let mut is_between = false;
        pieces.retain(|_| {
            is_between = !is_between;
            is_between
        });
        for (place, piece) in UNTOUCHED.iter().zip(&mut pieces) {
            place.store(piece.as_mut_ptr(), Ordering::Relaxed);
        }
        TOUCHES.store(0, Ordering::Relaxed);
        let timer = timer(Duration::from_micros(50 + u64::from(round) * 7), 16);
        let start = Instant::now();
        let mut sum = 0;
        while TOUCHES.load(Ordering::Relaxed) == 0 {
            assert!(start.elapsed() < Duration::from_secs(5), "the timer did not come");
            for piece in 0..4 {
                let mut own = pages(48 * KIB);
                for page in 0..12 {
                    part(&mut own, page * PAGE, 1)[0] = piece;
                }
            }
            let blocks: Vec<Box<[u8; 3000]>> = (0..20).map(|n| Box::new([n; 3000])).collect();
            sum += blocks.iter().map(|block| u64::from(block[2999])).sum::<u64>();
        }
        drop(timer);
        assert!(black_box(sum) > 0 || TOUCHES.load(Ordering::Relaxed) == 1);
        assert_eq!(pieces.len(), 16);
        for (number, piece) in pieces.iter_mut().enumerate() {
            assert_eq!(part(piece, 0, 1), [number as u8]);
        }
    }
    assert!(!interrupts::are_masked());
    check_audit();
}

fn come_while_interrupts_are_masked() {
    let mut memory = pages(MIB);
    static CALLED: AtomicU64 = AtomicU64::new(0);
    CALLED.store(0, Ordering::Relaxed);
    let call = |_| {
        CALLED.fetch_add(1, Ordering::Relaxed);
    };
    let timer = Timer::after(Duration::ZERO, call, 0);
    interrupts::without(|| {
        let start = Instant::now();
        for page in 0..256 {
            part(&mut memory, page * PAGE, 1)[0] = 1;
            assert!(interrupts::are_masked());
        }
        while start.elapsed() < Duration::from_millis(5) {}
        // A fault has not let the timer through, which was due long ago if it did not come before.
        let called = CALLED.load(Ordering::Relaxed);
        part(&mut memory, 1, 1)[0] = 2;
        assert_eq!(CALLED.load(Ordering::Relaxed), called);
    });
    let start = Instant::now();
    while CALLED.load(Ordering::Relaxed) == 0 {
        assert!(start.elapsed() < Duration::from_secs(5), "interrupts stay masked");
    }
    assert!(timer.is_ok());
}

/// Takes every frame that is not promised.
fn all_other_frames() -> FrameBatch<Size4KiB, Live> {
    let mut all = FrameBatch::new(machine());
    while let Ok(frame) = Frame::<Size4KiB, _>::allocate(machine()) {
        assert!(all.push(frame.into()).is_ok());
    }
    all
}

fn come_when_no_other_frame_is_free() {
    let mut memory = pages(3 * MIB);
    let mut small = pages(64 * KIB);
    let hoard = all_other_frames();
    assert_eq!(free_frames(), 0);
    for page in 0..768 {
        part(&mut memory, page * PAGE, PAGE).fill(page as u8);
    }
    for page in 0..16 {
        part(&mut small, page * PAGE, PAGE).fill(page as u8);
    }
    for page in 0..768 {
        assert!(part(&mut memory, page * PAGE, PAGE).iter().all(|byte| *byte == page as u8), "page {page}");
    }
    check_audit();
    assert!(Pages::reserve(16 * KIB).is_err());
    drop(hoard);
    assert!(Pages::reserve(16 * KIB).is_ok());
}

fn what_cant_be_honoured_is_refused_at_once() {
    let before = Balance::now();
    let free = free_frames() as usize * PAGE;
    for len_bytes in [free, free + 1, 2 * free, 1 << 46, usize::MAX - 5000, usize::MAX] {
        let refused = Pages::reserve(len_bytes);
        assert!(matches!(refused, Err(PagesError::OutOfMemory { .. })), "{len_bytes} bytes of {free}");
    }
    let most = statistics().largest_free_bytes as usize;
    let all = pages(most);
    let mut bytes = Vec::<u8>::new();
    assert!(bytes.try_reserve_exact(MIB).is_err());
    black_box(&bytes);
    drop(all);
    assert_eq!(Balance::now(), before);
}

fn parts_go_back_and_are_reserved_again() {
    let mut memory = pages(8 * MIB);
    part(&mut memory, 0, 8 * MIB).fill(0x77);
    let free = free_frames();
    // A part of a large page can't go back.
    assert!(memory.give_back(100..2 * MIB + 100).is_empty());
    assert_eq!(memory.give_back(MIB..6 * MIB + 5), 2 * MIB..6 * MIB);
    assert!(free_frames() >= free + 1024, "two large pages");
    assert!(memory.part(6 * MIB - 1..6 * MIB).is_none() && memory.part(0..8 * MIB).is_none());
    assert_eq!(memory.prefault(2 * MIB - 5..3 * MIB), Err(PagesError::GivenBack { at: 2 * MIB }));
    let outside = PagesError::Outside { part: (0, 9 * MIB), len_bytes: 8 * MIB };
    assert_eq!(memory.reserve_again(0..9 * MIB), Err(outside));
    check_audit();
    assert_eq!(memory.reserve_again(3 * MIB..4 * MIB), Ok(()));
    let again = part(&mut memory, 3 * MIB, MIB);
    assert!(again.iter().all(|byte| *byte == 0));
    again.fill(0x33);
    // Small pages go back in pieces of 16 KiB.
    assert_eq!(memory.give_back(3 * MIB + 1..3 * MIB + 50 * KIB), 3 * MIB + 16 * KIB..3 * MIB + 48 * KIB);
    assert_eq!(memory.reserve_again(2 * MIB..6 * MIB), Ok(()));
    assert!(part(&mut memory, 3 * MIB, 16 * KIB).iter().all(|byte| *byte == 0x33));
    assert!(part(&mut memory, 3 * MIB + 16 * KIB, 32 * KIB).iter().all(|byte| *byte == 0));
    assert!(part(&mut memory, 0, 2 * MIB).iter().all(|byte| *byte == 0x77));
    check_audit();
    let gone = memory.give_back(0..8 * MIB);
    assert_eq!(gone, 0..8 * MIB);
}

fn are_mapped_beforehand_on_request() {
    let mut memory = pages(5 * MIB);
    assert_eq!(memory.prefault(0..5 * MIB), Ok(()));
    let before = statistics().faults;
    part(&mut memory, 0, 5 * MIB).fill(1);
    assert_eq!(statistics().faults, before);
    let mut numbers = Vec::<u64>::with_capacity(100_000);
    assert!(prefault(numbers.spare_capacity_mut()) >= 800_000);
    let before = statistics().faults;
    numbers.extend(0..100_000);
    assert_eq!(statistics().faults, before);
    assert_eq!(prefault(&[1, 2, 3]), 0, "on the stack");
    assert_eq!(prefault::<u8>(&[]), 0);
}

fn of_a_chosen_size_never_fault() {
    let before = statistics().faults;
    let mut small = LeafPages::<Size4KiB>::map(3).unwrap_or_else(|error| panic!("{error}"));
    let mut large = LeafPages::<Size2MiB>::map(2).unwrap_or_else(|error| panic!("{error}"));
    for pages in [&mut small[..], &mut large[..]] {
        assert!(pages.iter().all(|byte| *byte == 0));
        pages.fill(0x5a);
    }
    assert_eq!((small.len(), large.len()), (3 * PAGE, 4 * MIB));
    assert_eq!(statistics().faults, before);
    assert!(matches!(LeafPages::<Size2MiB>::map(1 << 20), Err(PagesError::OutOfMemory { .. })));
    assert!(LeafPages::<Size2MiB>::map(0).is_err() && LeafPages::<Size2MiB>::map(u64::MAX).is_err());
    let huge = LeafPages::<Size1GiB>::map(1).map(|pages| pages.len());
    assert!(matches!(huge, Ok(0x4000_0000) | Err(_)), "{huge:?}");
    check_audit();
}

/// Where it can't grow, with no byte copied: the same frames show up elsewhere.
fn a_block_moves_with_its_frames() {
    let mut block: Vec<u64> = Vec::with_capacity(5 * MIB / 8);
    // A neighbour in the way.
    let neighbours: Vec<Vec<u8>> = (0..4).map(|_| Vec::with_capacity(2 * MIB)).collect();
    block.extend(0..5 * MIB as u64 / 8);
    let address = |block: &[u64], offset: usize| VirtAddr::new((block.as_ptr() as usize + offset) as u64);
    let places = [0, MIB, 4 * MIB + 64 * KIB];
    let (old, frames) = (address(&block, 0), places.map(|offset| physical_address(address(&block, offset))));
    let before = statistics();
    block.reserve_exact(3 * MIB / 8);
    let after = statistics();
    assert_ne!(address(&block, 0), old, "the neighbour is not where it was thought to be");
    assert_eq!(places.map(|offset| physical_address(address(&block, offset))), frames);
    // The heap's notes on the new place may need pages.
    assert_eq!(after.mapped.large, before.mapped.large);
    assert!(after.mapped.small <= before.mapped.small + 8, "{after:?} after {before:?}");
    assert!((0..).zip(&block).all(|(number, word): (u64, _)| *word == number));
    block.resize(8 * MIB / 8, 7);
    assert!(block[5 * MIB / 8..].iter().all(|word| *word == 7));
    check_audit();
    drop((block, neighbours));
    check_audit();
}

fn more_than_half_of_memory_grows() {
    let most = statistics().largest_free_bytes as usize;
    let mut block: Vec<u8> = Vec::new();
    assert!(block.try_reserve_exact(most / 8 * 5).is_ok());
    let neighbour = black_box(Vec::<u8>::with_capacity(2 * MIB));
    block.extend([1, 2, 3]);
    let grown = block.try_reserve_exact(most / 8 * 6);
    black_box(&block);
    assert!(grown.is_ok(), "{grown:?}");
    assert_eq!(block, [1, 2, 3]);
    drop(neighbour);
}

fn alignments_up_to_1_gib() {
    for bits in 12..=30 {
        for size in [1, 5000, MIB, 3 * MIB] {
            let Ok(layout) = Layout::from_size_align(size, 1 << bits) else { unreachable!() };
            // SAFETY: the layout has a size; the block is freed with it.
            unsafe {
                let block = black_box(alloc(layout));
                assert!(!block.is_null(), "{layout:?}");
                assert!(block.addr().is_multiple_of(layout.align()), "{layout:?}: {block:p}");
                block.write_bytes(0xee, size);
                dealloc(block, layout);
            }
        }
    }
    check_audit();
}

/// What the handler can free.
static RESERVE: spin::Mutex<Vec<Vec<u8>>> = spin::Mutex::new(Vec::new());
static CALLS: AtomicUsize = AtomicUsize::new(0);

fn free_one(_: Layout) -> AfterFailure {
    CALLS.fetch_add(1, Ordering::Relaxed);
    // What it allocates itself fails without another call of it.
    assert!(Vec::<u8>::new().try_reserve_exact(1 << 45).is_err());
    match RESERVE.lock().pop() {
        Some(block) => {
            drop(block);
            AfterFailure::Retry
        }
        None => AfterFailure::Fail,
    }
}

fn a_handler_makes_room_for_what_failed() {
    CALLS.store(0, Ordering::Relaxed);
    let third = statistics().largest_free_bytes as usize / 3;
    let mut blocks = Vec::with_capacity(2);
    blocks.extend((0..2).map(|_| Vec::with_capacity(third)));
    *RESERVE.lock() = blocks;
    set_out_of_memory_handler(Some(free_one));
    let mut large = Vec::<u8>::new();
    let reserved = large.try_reserve_exact(2 * third + third / 2);
    black_box(&large);
    assert!(reserved.is_ok() && CALLS.load(Ordering::Relaxed) == 2, "{reserved:?}");
    let refused = Vec::<u8>::new().try_reserve_exact(2 * third);
    assert!(refused.is_err() && CALLS.load(Ordering::Relaxed) == 3);
    set_out_of_memory_handler(None);
    *RESERVE.lock() = Vec::new();
}

/// Blocks of all lengths come and go, in little memory; then all of it is as it was.
fn churn_leaves_nothing_behind() {
    let before = Balance::now();
    let room = statistics().free_bytes as usize / 2;
    let (mut live, mut bytes, mut random): (Vec<Vec<u8>>, usize, u64) = (Vec::new(), 0, 0x5eed);
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for round in 0..20_000 {
        let len = 1 << next(if round % 50 == 0 { 22 } else { 15 });
        if live.len() > 500 || bytes + len > room {
            let index = next(live.len());
            let block = live.swap_remove(index);
            bytes -= block.len();
            let value = (block.len() >> 3) as u8;
            assert!(block.first() == Some(&value) && block.last() == Some(&value), "a block was overwritten");
            continue;
        }
        let mut block = Vec::new();
        if block.try_reserve_exact(len).is_ok() {
            block.resize(len, (len >> 3) as u8);
            bytes += len;
            live.push(block);
        }
        if round % 4096 == 0 {
            check_audit();
        }
    }
    drop(live);
    trim();
    assert_eq!(Balance::now(), before);
}
