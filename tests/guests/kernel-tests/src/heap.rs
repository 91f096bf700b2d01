//! The application heap.

use crate::Test;
use crate::machine::{Balance, machine};
use alloc::alloc::{alloc, dealloc, realloc};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::hint::black_box;
use unikernel::heap::{prefault, statistics, trim};
use unikernel::memory::address::{PhysAddr, VirtAddr};
use unikernel::memory::frame::{Frame, FrameBatch};
use unikernel::memory::live::physical_address;
use unikernel::memory::page_size::{PageSize, Size2MiB};
use unikernel::memory::ram;
use unikernel::println;

pub(crate) const TESTS: &[Test] = &[
    ("heap::all_sizes_and_alignments", all_sizes_and_alignments),
    ("heap::freeing_gives_back_all", freeing_gives_back_all),
    ("heap::freed_in_any_order_it_joins_again", freed_in_any_order_it_joins_again),
    ("heap::nearly_all_free_ram_can_be_allocated", nearly_all_free_ram_can_be_allocated),
    ("heap::memory_above_4g_is_used", memory_above_4g_is_used),
    ("heap::zero_sizes_need_no_memory", zero_sizes_need_no_memory),
    ("heap::growing_keeps_contents", growing_keeps_contents),
    ("heap::too_much_is_an_error", too_much_is_an_error),
    ("heap::blocks_lie_in_free_ram", blocks_lie_in_free_ram),
];

const FOUR_GIB: u64 = 4 << 30;
const MIB: usize = 1 << 20;
/// Distance in bytes of the words that are tried where trying all would take too much of the host's memory.
const STEP: usize = 512 << 10;

/// Where an address of the heap leads.
fn phys_of(address: u64) -> PhysAddr {
    let Some(phys) = physical_address(VirtAddr::new(address)) else { panic!("{address:#x} is not mapped") };
    phys
}

/// A block that knows what was written to it.
struct Block {
    start: *mut u8,
    layout: Layout,
    fill: u8,
}

impl Block {
    fn new(len: usize, align: usize, fill: u8) -> Self {
        let Ok(layout) = Layout::from_size_align(len, align) else { panic!("{len} aligned to {align}") };
        // SAFETY: the layout has a size.
        let start = unsafe { alloc(layout) };
        assert!(!start.is_null(), "no room for {layout:?} in {:?}", statistics());
        assert!((start as usize).is_multiple_of(align), "{start:p} is not aligned to {align}");
        // SAFETY: the block was just allocated with this length.
        unsafe { start.write_bytes(fill, len) };
        Self { start, layout, fill }
    }

    fn check(&self) {
        // SAFETY: the block is allocated, and all of it was written.
        let bytes = unsafe { core::slice::from_raw_parts(self.start, self.layout.size()) };
        assert!(
            bytes.iter().all(|byte| *byte == self.fill),
            "{:p} {:?} was written to",
            self.start,
            self.layout
        );
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.check();
        // SAFETY: allocated with this layout, and not used again.
        unsafe { dealloc(self.start, self.layout) };
    }
}

fn all_sizes_and_alignments() {
    let before = Balance::now();
    let mut blocks = Vec::new();
    for align_bits in 0..=21 {
        for len in [1, 7, 8, 24, 100, 4095, 4096, 4097, 70_000] {
            blocks.push(Block::new(len, 1 << align_bits, blocks.len() as u8));
        }
    }
    blocks.push(Block::new(2 * MIB, 2 * MIB, 0xee));
    let mut ranges: Vec<(usize, usize)> = blocks
        .iter()
        .map(|block| (block.start as usize, block.start as usize + block.layout.size()))
        .collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{:x?} and {:x?} overlap", pair[0], pair[1]);
    }
    blocks.iter().for_each(Block::check);
    drop((blocks, ranges));
    assert_eq!(Balance::now(), before);
}

/// Takes blocks of a MiB until no more fit.
fn take_all() -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    // Reserved first, as the list itself must not fail to grow.
    blocks.reserve_exact(statistics().free_bytes as usize / MIB + 1);
    loop {
        let mut block = Vec::new();
        if block.try_reserve_exact(MIB).is_err() {
            return blocks;
        }
        block.push(1);
        blocks.push(block);
    }
}

fn freeing_gives_back_all() {
    let before = Balance::now();
    // What the heap keeps at hand of other tests cuts free memory into pieces, until it is needed.
    drop(take_all());
    let first = take_all().len();
    assert_eq!(Balance::now(), before, "after the first round");
    let second = take_all().len();
    assert_eq!((second, Balance::now()), (first, before), "after the second round");
    assert!(first > 0);
}

fn freed_in_any_order_it_joins_again() {
    let before = Balance::now();
    let mut blocks: Vec<Option<Block>> =
        (0..512).map(|n| Some(Block::new(600 + n * 8, 8, n as u8))).collect();
    // 512 and the step have no common factor, so every block is met once.
    for index in (0..blocks.len()).map(|n| n * 211 % 512) {
        assert!(blocks[index].take().is_some());
    }
    drop(blocks);
    assert_eq!(Balance::now(), before);
    let whole = Block::new(512 * 600, 8, 0);
    drop(whole);
}

/// All but what is noted about frames, a table for each 2 MiB, and what is shared with the host.
fn nearly_all_free_ram_can_be_allocated() {
    let Some(ram) = ram::of_machine() else { panic!("no memory map") };
    let free = ram.free().len_bytes();
    let before = statistics();
    // A document of 1 MiB for the host, tables, and the map of the heap's region.
    let others = (2 * MIB) as u64 + free / 256;
    assert!(before.free_bytes + others >= free, "{before:?} of {free} bytes");
    assert!(before.free_bytes <= free);
    let taken = take_all().len() * MIB;
    // The list of blocks, and the rest of a MiB; a table for each 2 MiB.
    assert!(
        taken + 3 * MIB + free as usize / 512 >= before.free_bytes as usize,
        "{taken} bytes of {before:?}"
    );
    let most = statistics().largest_free_bytes as usize;
    trim();
    let Ok(layout) = Layout::from_size_align(most, 1) else { panic!("{most} bytes") };
    // SAFETY: the layout has a size; the block is freed with it.
    unsafe {
        let block = black_box(alloc(layout));
        assert!(!block.is_null(), "the largest free block of {most} bytes can't be had");
        dealloc(block, layout);
    }
}

fn memory_above_4g_is_used() {
    let Some(ram) = ram::of_machine() else { panic!("no memory map") };
    let above: u64 = ram
        .free()
        .ranges()
        .iter()
        .filter(|range| range.end > FOUR_GIB)
        .map(|range| range.end - range.start.max(FOUR_GIB))
        .sum();
    if above == 0 {
        println!("no RAM above 4 GiB");
        return;
    }
    // All large frames below that are somebody else's, so that pages can only come from above. None of them is touched.
    let mut low = FrameBatch::<Size2MiB, _>::new(machine());
    let mut high = FrameBatch::<Size2MiB, _>::new(machine());
    while let Ok(frame) = Frame::<Size2MiB, _>::allocate(machine()) {
        let batch = if frame.start().as_u64() < FOUR_GIB { &mut low } else { &mut high };
        assert!(batch.push(frame.into()).is_ok());
    }
    let found = high.count() * Size2MiB::LEN_BYTES;
    assert!(found + 128 * MIB as u64 >= above, "{found} of {above} bytes above 4 GiB");
    drop(high);
    let mut block: Vec<u64> = Vec::with_capacity(64 * MIB / 8);
    let spare = block.spare_capacity_mut();
    for index in (0..spare.len()).step_by(STEP / 8) {
        let address = &raw const spare[index] as u64;
        spare[index].write(address);
        assert!(phys_of(address).as_u64() >= FOUR_GIB, "{address:#x}");
    }
    for index in (0..spare.len()).step_by(STEP / 8) {
        // SAFETY: written above.
        assert_eq!(unsafe { spare[index].assume_init() }, &raw const spare[index] as u64);
    }
    println!("used {} MiB above 4 GiB", found >> 20);
}

fn zero_sizes_need_no_memory() {
    let before = Balance::now();
    let nothing: Vec<u8> = black_box(Vec::with_capacity(0));
    let units: Vec<()> = black_box(core::iter::repeat_n((), 1000).collect());
    let boxed: Box<[u64; 0]> = black_box(Box::new([]));
    assert_eq!((nothing.len(), units.len(), boxed.len()), (0, 1000, 0));
    assert_eq!(Balance::now(), before);
    let mut shrunk: Vec<u8> = black_box(Vec::from([1, 2, 3]));
    assert_ne!(Balance::now(), before);
    shrunk.clear();
    shrunk.shrink_to_fit();
    assert_eq!(Balance::now(), before);
}

fn growing_keeps_contents() {
    let before = Balance::now();
    let mut numbers = Vec::new();
    for number in 0..200_000_u32 {
        numbers.push(number.wrapping_mul(0x9e37_79b9));
    }
    assert!((0..).zip(&numbers).all(|(n, number): (u32, _)| *number == n.wrapping_mul(0x9e37_79b9)));
    drop(numbers);

    let layout = Layout::new::<[u64; 4]>();
    // SAFETY: the layout has a size.
    let block = unsafe { alloc(layout) };
    assert!(!block.is_null());
    // SAFETY: allocated with this layout; the new length is not 0.
    let grown = unsafe {
        block.write_bytes(0x77, layout.size());
        realloc(block, layout, 100_000)
    };
    assert!(!grown.is_null());
    // SAFETY: the first bytes were written before it grew.
    let start = unsafe { core::slice::from_raw_parts(grown, layout.size()) };
    assert!(start.iter().all(|byte| *byte == 0x77));
    let Ok(layout) = Layout::from_size_align(100_000, layout.align()) else { unreachable!() };
    // SAFETY: reallocated to this length, with the same alignment.
    unsafe { dealloc(grown, layout) };
    assert_eq!(Balance::now(), before);
}

fn too_much_is_an_error() {
    let before = Balance::now();
    let free = statistics().free_bytes as usize;
    for len in [free + 1, free * 2, 1 << 46, isize::MAX as usize / 2, isize::MAX as usize, usize::MAX] {
        let mut bytes: Vec<u8> = Vec::new();
        let reserved = bytes.try_reserve_exact(len);
        // Without it, the compiler leaves out what it can see is not used, and takes it for a success.
        black_box(&bytes);
        assert!(reserved.is_err(), "{len} bytes were to be had of {free}");
        assert_eq!(Balance::now(), before);
    }
    let Ok(huge_alignment) = Layout::from_size_align(8, 1 << 46) else { unreachable!() };
    // SAFETY: the layout has a size.
    assert!(black_box(unsafe { alloc(huge_alignment) }).is_null());
    drop(Block::new(100, 8, 1));
    assert_eq!(Balance::now(), before);
}

fn blocks_lie_in_free_ram() {
    let Some(ram) = ram::of_machine() else { panic!("no memory map") };
    let mut blocks = take_all();
    for block in &mut blocks {
        prefault(block.spare_capacity_mut());
        let start = block.as_ptr() as u64;
        for address in (start..start + MIB as u64).step_by(4096).chain([start + MIB as u64 - 1]) {
            let phys = phys_of(address).as_u64();
            assert!(ram.free().contains(phys), "{address:#x} leads to {phys:#x}, which is not free RAM");
        }
    }
}
