use super::fixture::{KIB, MIB, Memory, granules, layout};
use super::{End, GRANULE_LEN, OneRange, RangeSource};
use alloc::vec;
use alloc::vec::Vec;
use core::ptr::NonNull;

const GIB: usize = 1 << 30;

fn take(source: &mut OneRange, count: usize, align: usize) -> Option<NonNull<u8>> {
    let start = source.take(layout(granules(count), align), End::Low)?;
    assert!(start.addr().get().is_multiple_of(align));
    Some(start)
}

#[test]
fn it_is_split_and_joined_again_in_any_order() {
    let memory = Memory::new(MIB + 64 * KIB, GRANULE_LEN);
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut source = memory.source(0);
        let all = source.free_granules() as usize;
        let lens = [3, 5, all - 8];
        let starts: Vec<_> = lens.iter().map(|len| take(&mut source, *len, GRANULE_LEN).unwrap()).collect();
        assert_eq!((source.free_granules(), take(&mut source, 1, GRANULE_LEN)), (0, None));
        for index in order {
            assert!(!source.is_whole());
            // SAFETY: taken above with this length.
            unsafe { source.give_back(starts[index], granules(lens[index])) };
        }
        assert!(source.is_whole());
    }
}

#[test]
fn a_range_grows_into_a_free_neighbour_and_shrinks() {
    let memory = Memory::new(MIB, GRANULE_LEN);
    let mut source = memory.source(0);
    let all = source.free_granules() as usize;
    let first = take(&mut source, 2, GRANULE_LEN).unwrap();
    let second = take(&mut source, 2, GRANULE_LEN).unwrap();
    // SAFETY: the ranges are given out with these lengths.
    unsafe {
        assert!(!source.grow(first, granules(2), granules(3)), "there is a neighbour");
        assert!(!source.grow(second, granules(2), granules(all)), "there is not that much");
        assert!(source.grow(second, granules(2), granules(all - 2)));
        assert_eq!(source.free_granules(), 0);
        source.shrink(second, granules(all - 2), granules(1));
        assert_eq!(source.free_granules() as usize, all - 3);
        source.give_back(first, granules(2));
        source.give_back(second, granules(1));
    }
    assert!(source.is_whole());
}

#[test]
fn what_is_lost_is_told_and_small() {
    for without in [0, 8, 4 * KIB, 12 * KIB, 33 * KIB] {
        for len in [MIB, 4 * MIB, 4 * MIB + 100] {
            let memory = Memory::new(len + without, GRANULE_LEN);
            let mut source = memory.source(without);
            let usable = granules(source.free_granules() as usize);
            assert_eq!(source.len_bytes(), len as u64);
            assert_eq!(source.overhead_bytes(), (len - usable) as u64);
            assert!(usable + 2 * GRANULE_LEN + len / 1024 > len, "{usable} of {len}");
            assert!(take(&mut source, usable / GRANULE_LEN, GRANULE_LEN).is_some());
        }
    }
}

#[test]
fn what_is_too_short_gives_nothing() {
    let memory = Memory::new(64 * KIB, GRANULE_LEN);
    for len in [0, 1, 100, 4 * KIB, GRANULE_LEN, GRANULE_LEN + 24] {
        // SAFETY: the memory is the test's alone.
        let mut source = unsafe { OneRange::new(memory.start, len) };
        assert!(source.take(layout(GRANULE_LEN, GRANULE_LEN), End::Low).is_none(), "{len}");
        assert_eq!((source.len_bytes(), source.overhead_bytes()), (len as u64, len as u64));
    }
    let mut least = memory.source(0);
    assert!(take(&mut least, 1, GRANULE_LEN).is_some());
}

#[test]
fn what_does_not_fit_is_refused() {
    let memory = Memory::new(MIB, MIB);
    let mut source = memory.source(0);
    for (len, align) in [
        (MIB, GRANULE_LEN),
        (1 << 46, GRANULE_LEN),
        (1 << 62, GRANULE_LEN),
        (GRANULE_LEN, 1 << 46),
        (GRANULE_LEN, 1 << 62),
    ] {
        assert!(source.take(layout(len, align), End::High).is_none(), "{len} {align}");
    }
    assert!(source.is_whole());
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no memory that is not touched")]
fn gibibytes_with_alignment_up_to_one() {
    let memory = Memory::new(3 * GIB, GIB);
    // Not at a multiple of anything, as in the guest.
    let mut source = memory.source(13 * 4096);
    let mut taken = Vec::new();
    for (len, align) in [
        (GIB, GIB),
        (GRANULE_LEN, GIB),
        (GRANULE_LEN, 2 * MIB),
        (512 * MIB, 512 * MIB),
        (700 * MIB, GRANULE_LEN),
        (64 * KIB, 64 * KIB),
    ] {
        taken.push((take(&mut source, len / GRANULE_LEN, align).unwrap(), len));
    }
    assert!(take(&mut source, GIB / GRANULE_LEN, GRANULE_LEN).is_none());
    for (start, len) in taken {
        // SAFETY: taken above with this length.
        unsafe { source.give_back(start, len) };
    }
    assert!(source.is_whole());
}

#[test]
fn the_shortest_run_that_does_is_used() {
    let memory = Memory::new(8 * MIB, GRANULE_LEN);
    let mut source = memory.source(0);
    // Pairs of a run that is kept and one that will be free, of many lengths, more than are looked at in one bin.
    let lens: Vec<usize> = [6, 2, 3].into_iter().chain([1; 40]).collect();
    let runs: Vec<_> = lens
        .iter()
        .map(|len| {
            (take(&mut source, *len, GRANULE_LEN).unwrap(), take(&mut source, 1, GRANULE_LEN).unwrap())
        })
        .collect();
    for ((start, _), len) in runs.iter().zip(&lens) {
        // SAFETY: taken above with this length.
        unsafe { source.give_back(*start, granules(*len)) };
    }
    assert_eq!(take(&mut source, 3, GRANULE_LEN), Some(runs[2].0));
    assert_eq!(take(&mut source, 2, GRANULE_LEN), Some(runs[1].0));
    assert_eq!(take(&mut source, 2, GRANULE_LEN), Some(runs[0].0), "4 are left there");
}

#[test]
fn more_granules_join_the_last() {
    let mut notes = vec![0_u32; OneRange::notes_bytes(12) / 4];
    let base = core::ptr::without_provenance_mut(64 * MIB);
    // SAFETY: the notes are the test's, and long enough; the granules are never touched.
    unsafe {
        let mut source = OneRange::apart(notes.as_mut_ptr().cast(), base, 4, granules(4) as u64);
        assert_eq!(take(&mut source, 5, GRANULE_LEN), None);
        let first = take(&mut source, 3, GRANULE_LEN).unwrap();
        source.extend(3);
        assert_eq!((source.len_bytes(), source.free_granules()), (granules(7) as u64, 4));
        assert_eq!(source.largest_free_bytes(), granules(4) as u64, "they join the free one before");
        let second = take(&mut source, 4, GRANULE_LEN).unwrap();
        assert_eq!(second.addr().get() - first.addr().get(), granules(3));
        source.extend(5);
        assert_eq!((source.free_granules(), source.largest_free_bytes()), (5, granules(5) as u64));
        source.retract(10);
        assert_eq!((source.granules(), source.free_granules()), (10, 3));
        source.retract(4);
        assert_eq!((source.granules(), source.free_granules()), (7, 0), "the others are given out");
        assert_eq!(take(&mut source, 1, GRANULE_LEN), None);
        source.give_back(second, granules(4));
        source.retract(4);
        assert_eq!((source.granules(), source.free_granules()), (4, 1));
        source.give_back(first, granules(3));
        assert!(source.is_whole());
        source.extend(8);
        assert!(source.is_whole() && source.granules() == 12);
    }
}
