//! Leaves of 2 MiB and 1 GiB in the live tables: walked by the processor, mapped, moved, split and promoted.

use crate::Test;
use crate::heap_blocks::{blocks_in_leaves_of, pages_of};
use crate::machine::{
    audit, behind, done, free_frames, give_back, machine, read, released, reserve, shown, walked, write,
};
use crate::walk::{Leaf, leaves};
use alloc::vec::Vec;
use unikernel::memory::address::PhysAddr;
use unikernel::memory::frame::Frame;
use unikernel::memory::live::LocalFlush;
use unikernel::memory::page_size::{Divisible, PageSize, Size1GiB, Size2MiB, Size4KiB};
use unikernel::memory::page_table::attributes::{DataAccess, DeviceCache, KernelAccess, MmioAttributes};
use unikernel::memory::page_table::level::LeafSize;
use unikernel::memory::page_table::{
    Compound, Error, Kva, KvaRun, Mmio, MmioRun, TableMemory, Tracked, flush,
};
use unikernel::println;

pub(crate) const TESTS: &[Test] = &[
    ("large_leaves::heap_leaves_of_each_size_are_walked", heap_leaves_of_each_size_are_walked),
    ("large_leaves::a_remapped_leaf_shows_other_memory", a_remapped_leaf_shows_other_memory),
    ("large_leaves::a_large_frame_moves_with_its_contents", a_large_frame_moves_with_its_contents),
    ("large_leaves::a_leaf_is_split_and_promoted", || split_and_promoted::<Size2MiB>("2 MiB")),
    ("large_leaves::a_leaf_of_1_gib_is_split_and_promoted", a_leaf_of_1_gib_is_split_and_promoted),
];

const REGISTERS: MmioAttributes =
    MmioAttributes { access: DataAccess::ReadWrite, cache: DeviceCache::Uncached };

/// Through heap leaves of each size there is, the processor reaches the memory that the window shows.
fn heap_leaves_of_each_size_are_walked() {
    assert!(heap_leaf_is_walked::<Size4KiB>() && heap_leaf_is_walked::<Size2MiB>());
    let has_large = heap_leaf_is_walked::<Size1GiB>();
    assert!(!has_large || machine().paging().one_gib_leaves);
}

/// Says whether there was such a leaf.
fn heap_leaf_is_walked<S: LeafSize>() -> bool {
    let Some(blocks) = pages_of::<S>(1) else {
        println!("no heap leaf of {}", S::NAME);
        return false;
    };
    let (start, leaf) = blocks.chosen[0];
    for offset in [0, S::LEN_BYTES / 2, S::LEN_BYTES - 8] {
        let (here, there) = (behind(start, offset), shown(PhysAddr::new(leaf.phys + offset)));
        assert_eq!(read(here), 0, "it is all zeros at first");
        for (to, from, word) in [(here, there, 0x5eed + offset), (there, here, 0xf00d + offset)] {
            // SAFETY: both addresses show memory of the block.
            unsafe { write(to, word) };
            assert_eq!(read(from), word, "{leaf:x?}");
        }
    }
    println!("heap leaf of {}: walked", S::NAME);
    true
}

/// One leaf after the other shows two blocks of the heap.
fn a_remapped_leaf_shows_other_memory() {
    let blocks = blocks_in_leaves_of::<Size2MiB>(2);
    let mut range = reserve::<Kva>(Size2MiB::LEN_BYTES, Size2MiB::LEN_BYTES);
    let start = range.range().start;
    for round in 0..4 {
        let (block, heap) = blocks.chosen[round % 2];
        // SAFETY: the block is this function's.
        unsafe { write(block, round as u64) };
        let Ok(run) = KvaRun::<Size2MiB>::new(&machine(), PhysAddr::new(heap.phys), 1) else {
            panic!("{heap:x?} is no RAM")
        };
        done(range.map(start, run, KernelAccess::ReadOnly));
        let same = behind(start, block.as_u64() - heap.virt);
        assert_eq!(read(same), round as u64, "a stale translation");
        range = released(done(range.unmap()));
    }
    give_back(range);
}

/// A frame of 2 MiB, which only larger machines have to spare, at one address after the other.
fn a_large_frame_moves_with_its_contents() {
    let Ok(mut frame) = Frame::<Size2MiB, _>::allocate(machine()) else {
        println!("frame of 2 MiB: none is free");
        return;
    };
    let phys = frame.start();
    let mut range = reserve::<Tracked>(2 * Size2MiB::LEN_BYTES, Size2MiB::LEN_BYTES);
    let start = range.range().start;
    for (round, offset) in [0, Size2MiB::LEN_BYTES, 0].into_iter().enumerate() {
        let at = behind(start, offset);
        done(range.map(at, frame, DataAccess::ReadWrite));
        let leaf = walked(at).map(|leaf| (leaf.phys, leaf.len_bytes, leaf.writable, leaf.executable));
        assert_eq!(leaf, Some((phys.as_u64(), Size2MiB::LEN_BYTES, true, false)));
        let last = behind(at, Size2MiB::LEN_BYTES - 8);
        assert!(round == 0 || read(last) == round as u64 - 1, "the contents did not move");
        // SAFETY: mapped, to a frame of this function's.
        unsafe { write(last, round as u64) };
        assert_eq!(read(shown(PhysAddr::new(phys.as_u64() + Size2MiB::LEN_BYTES - 8))), round as u64);
        assert!(audit().is_clean());
        let mut flushed = flush(done(range.unmap()), &LocalFlush);
        let Some(taken) = flushed.take_frame::<Size2MiB>(at) else { panic!("the frame that was unmapped") };
        frame = taken;
        range = flushed.release();
        assert!(walked(at).is_none(), "{at} is mapped still");
    }
    give_back(range);
    println!("frame of 2 MiB: moved");
}

/// Shows memory of the heap at other addresses too, by one leaf, by 512 and by one again.
fn split_and_promoted<S: Compound>(name: &str) {
    let blocks = blocks_in_leaves_of::<S>(1);
    let (block, heap) = blocks.chosen[0];
    let Ok(run) = KvaRun::<S>::new(&machine(), PhysAddr::new(heap.phys), 1) else {
        panic!("{heap:x?} is no RAM")
    };
    let mut range = reserve::<Kva>(S::LEN_BYTES, S::LEN_BYTES);
    let start = range.range().start;
    done(range.map(start, run, KernelAccess::ReadWrite));
    let same = behind(start, block.as_u64() - heap.virt);
    let both_ways = |step: u64| {
        // SAFETY: both addresses show memory of the block.
        unsafe { write(block, 0x5eed + step) };
        assert_eq!(read(same), 0x5eed + step, "step {step}");
        // SAFETY: as above.
        unsafe { write(behind(same, 8), 0xf00d + step) };
        assert_eq!(read(behind(block, 8)), 0xf00d + step, "step {step}");
    };
    let whole_range = |leaves: Vec<Leaf>| -> Vec<Leaf> {
        let inside = |leaf: &Leaf| leaf.virt.wrapping_sub(start.as_u64()) < S::LEN_BYTES;
        leaves.into_iter().filter(inside).collect()
    };
    both_ways(0);
    let free = free_frames();
    range = released(done(range.split::<S>(start)));
    assert_eq!(free_frames(), free - 1, "the table");
    both_ways(1);
    let parts = whole_range(leaves());
    let part_len = <S as Divisible>::Part::LEN_BYTES;
    assert_eq!(parts.len(), 512);
    for (part, offset) in parts.iter().zip((0..).step_by(part_len as usize)) {
        let expected = (start.as_u64() + offset, heap.phys + offset, part_len, true, false);
        assert_eq!((part.virt, part.phys, part.len_bytes, part.writable, part.executable), expected);
    }
    drop(parts);
    assert!(audit().is_clean());
    range = released(done(range.promote::<S>(start)));
    assert_eq!(free_frames(), free, "the table came back");
    both_ways(2);
    let whole = whole_range(leaves());
    assert_eq!(
        whole.iter().map(|leaf| (leaf.phys, leaf.len_bytes)).collect::<Vec<_>>(),
        [(heap.phys, S::LEN_BYTES)]
    );
    give_back(released(done(range.unmap())));
    println!("leaf of {name}: split and promoted");
}

fn a_leaf_of_1_gib_is_split_and_promoted() {
    if pages_of::<Size1GiB>(1).is_some() {
        return split_and_promoted::<Size1GiB>("1 GiB");
    }
    println!("the heap can have no leaf of 1 GiB");
    if !machine().paging().one_gib_leaves {
        // Any address will do, since it is refused before anything is looked at.
        let mut range = reserve::<Mmio>(Size1GiB::LEN_BYTES, Size1GiB::LEN_BYTES);
        let start = range.range().start;
        let Ok(run) = MmioRun::<Size1GiB>::new(&machine(), PhysAddr::new(1 << 40), 1) else {
            panic!("RAM at 1 TiB")
        };
        let refused = range.map(start, run, REGISTERS).map_err(|rejected| rejected.error);
        assert!(matches!(refused, Err(Error::UnsupportedSize { .. })), "{refused:?}");
        give_back(range);
    }
}
