//! Where the frame allocator's own memory lies: in free RAM that the boot tables map, whole pages, told by arithmetic alone.

use crate::memory::frame::{CpuFrames, FrameArrayLengths, FrameArrays};
use crate::memory::page_size::{PageSize, Size2MiB};
use crate::memory::{AddressRange, PAGE_LEN};
use core::mem::align_of;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU64};

/// The arrays of a machine with this many frames, side by side from an address on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    lengths: FrameArrayLengths,
}

/// Parts of a free range, of [`SHARE_OF`], that the arrays may take: what is left holds the first page tables.
const SHARE: u64 = 7;
const SHARE_OF: u64 = 8;

impl Layout {
    pub(super) const fn new(frames: u64, cpus: usize) -> Self {
        Self { lengths: FrameArrayLengths::new(frames as usize, cpus) }
    }

    /// Bytes that the arrays take, in whole pages.
    pub(super) const fn len_bytes(self) -> u64 {
        let FrameArrayLengths { bitmap, areas, hints, frames, cpus } = self.lengths;
        let parts = [
            bitmap * size_of::<AtomicU64>(),
            areas * size_of::<AtomicU16>(),
            hints * size_of::<AtomicU64>(),
            hints * size_of::<AtomicU64>(),
            frames * size_of::<AtomicU8>(),
            frames * size_of::<AtomicU64>(),
            frames * size_of::<AtomicU8>(),
            cpus * size_of::<CpuFrames>(),
        ];
        let mut sum = 0;
        let mut index = 0;
        while index < parts.len() {
            sum += padded(parts[index]);
            index += 1;
        }
        (sum as u64).next_multiple_of(PAGE_LEN)
    }

    /// The arrays in zeroed or other memory.
    ///
    /// # Safety
    /// `memory` is so many bytes as [`Layout::len_bytes`] says, aligned to a page, that nobody else uses for ever.
    pub(super) unsafe fn arrays(self, memory: *mut u8) -> FrameArrays<'static> {
        let FrameArrayLengths { bitmap, areas, hints, frames, cpus } = self.lengths;
        let mut at = memory;
        // SAFETY: the caller's promise: the parts of `len_bytes`, in the same order.
        unsafe {
            let cpus = {
                let start = at.cast::<CpuFrames>();
                for index in 0..cpus {
                    start.add(index).write(CpuFrames::new());
                }
                part::<CpuFrames>(&mut at, cpus)
            };
            FrameArrays {
                cpus,
                bitmap: part::<AtomicU64>(&mut at, bitmap),
                areas: part::<AtomicU16>(&mut at, areas),
                nonempty: part::<AtomicU64>(&mut at, hints),
                whole: part::<AtomicU64>(&mut at, hints),
                states: part::<AtomicU8>(&mut at, frames),
                words: part::<AtomicU64>(&mut at, frames),
                marks: part::<AtomicU8>(&mut at, frames),
            }
        }
    }
}

/// What the arrays are aligned to, each.
const ALIGN: usize = align_of::<CpuFrames>();

const fn padded(len_bytes: usize) -> usize {
    len_bytes.next_multiple_of(ALIGN)
}

/// The next `len` elements, and moves on behind them.
///
/// # Safety
/// There are as many, aligned, of a type for which all bytes mean something, or which were written.
unsafe fn part<T>(at: &mut *mut u8, len: usize) -> &'static [T] {
    let start = at.cast::<T>().cast_const();
    // SAFETY: the caller's promise.
    unsafe {
        *at = at.add(padded(len * size_of::<T>()));
        core::slice::from_raw_parts(start, len)
    }
}

/// Finds room for the arrays of all frames below `end`, or of as many as fit, in the longest of `free` below `limit`: the
/// range that they take, and how many frames they are for.
pub(super) fn place(
    free: &[AddressRange],
    limit: u64,
    end: u64,
    frames_step: u64,
    cpus: usize,
) -> Option<(AddressRange, u64)> {
    let within = |range: &AddressRange| range.start..range.end.min(limit).max(range.start);
    let longest = free.iter().map(within).max_by_key(|range| range.end - range.start)?;
    let room = (longest.end - longest.start) / SHARE_OF * SHARE;
    let fits = |frames: u64| Layout::new(frames, cpus).len_bytes() <= room;
    let wanted = (end / PAGE_LEN).next_multiple_of(frames_step);
    let frames = if fits(wanted) {
        wanted
    } else {
        // As many as fit, by halving what is not known yet.
        let (mut fitting, mut too_many) = (0, wanted / frames_step);
        while too_many - fitting > 1 {
            let middle = fitting.midpoint(too_many);
            if fits(middle * frames_step) { fitting = middle } else { too_many = middle }
        }
        fitting * frames_step
    };
    let len = Layout::new(frames, cpus).len_bytes();
    // At a multiple of a large page the window shows them by large leaves, which cost the fewest faults at the start.
    let aligned = longest.start.next_multiple_of(Size2MiB::LEN_BYTES);
    let start = if aligned + len <= longest.end { aligned } else { longest.start };
    (frames > 0).then_some((start..start + len, frames))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use alloc::vec;
    use core::slice::from_ref;

    const MIB: u64 = 1 << 20;
    const AREA: u64 = 512;

    #[test]
    fn the_arrays_fill_their_layout_and_do_not_overlap() {
        for frames in [512, 4096, 1_000_448] {
            let layout = Layout::new(frames, 2);
            let mut memory = vec![0_u64; layout.len_bytes() as usize / 8 + 512];
            let offset = memory.as_ptr().align_offset(4096);
            let start = memory[offset..].as_mut_ptr().cast::<u8>();
            // SAFETY: so many bytes, aligned, of a vector that lives until the end of the test.
            let arrays = unsafe { layout.arrays(start) };
            let parts = [
                arrays.bitmap.as_ptr_range().start as usize..arrays.bitmap.as_ptr_range().end as usize,
                arrays.areas.as_ptr_range().start as usize..arrays.areas.as_ptr_range().end as usize,
                arrays.nonempty.as_ptr_range().start as usize..arrays.nonempty.as_ptr_range().end as usize,
                arrays.whole.as_ptr_range().start as usize..arrays.whole.as_ptr_range().end as usize,
                arrays.states.as_ptr_range().start as usize..arrays.states.as_ptr_range().end as usize,
                arrays.words.as_ptr_range().start as usize..arrays.words.as_ptr_range().end as usize,
                arrays.marks.as_ptr_range().start as usize..arrays.marks.as_ptr_range().end as usize,
                arrays.cpus.as_ptr_range().start as usize..arrays.cpus.as_ptr_range().end as usize,
            ];
            let all = start as usize..start as usize + layout.len_bytes() as usize;
            for (index, part) in parts.iter().enumerate() {
                assert!(all.start <= part.start && part.end <= all.end);
                let others = parts.iter().enumerate().filter(|(other, _)| *other != index);
                assert!(
                    others.into_iter().all(|(_, other)| part.end <= other.start || other.end <= part.start)
                );
            }
            // SAFETY: the memory is this test's, and used once.
            assert!(unsafe { crate::memory::frame::FrameAllocator::new(arrays) }.is_ok());
        }
    }

    #[test]
    fn arrays_lie_in_the_longest_range_that_is_mapped() {
        let free = [MIB..2 * MIB, 4 * MIB..64 * MIB, 4096 * MIB..8192 * MIB];
        let (range, frames) = place(&free, 1024 * MIB, 8192 * MIB, AREA, 1).unwrap();
        assert_eq!((range.start, frames), (4 * MIB, 8192 * MIB / PAGE_LEN));
        assert_eq!(range.end - range.start, Layout::new(frames, 1).len_bytes());
        let (_, frames) = place(from_ref(&(MIB..3 * MIB)), 1024 * MIB, 5 * MIB, AREA, 1).unwrap();
        assert_eq!(frames, 3 * AREA, "a whole number of areas");
    }

    #[test]
    fn of_too_much_ram_the_lower_part_is_kept() {
        let (range, frames) = place(from_ref(&(4 * MIB..8 * MIB)), 1024 * MIB, 1 << 52, AREA, 1).unwrap();
        assert!(range.end <= 4 * MIB + 4 * MIB / 8 * 7);
        let fitting = 3584 * 1024 / 10;
        assert!(frames > fitting * 9 / 10 && frames < fitting, "{frames}");
        assert_eq!(place(&[], 1024 * MIB, 1 << 30, AREA, 1), None);
        assert_eq!(place(from_ref(&(4096 * MIB..8192 * MIB)), 1024 * MIB, 1 << 33, AREA, 1), None);
        assert_eq!(place(from_ref(&(4 * MIB..4 * MIB + 4096)), 1024 * MIB, 1 << 30, AREA, 1), None);
    }
}
