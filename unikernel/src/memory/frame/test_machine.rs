//! A machine for tests: frame arrays on the heap of the host, and a handle for each CPU.

use super::{CpuFrames, FrameAllocator, FrameArrayLengths, FrameArrays, FrameSource};
use crate::memory::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering};
use alloc::vec::Vec;

/// Owns the arrays.
pub(crate) struct TestArrays {
    bitmap: Vec<AtomicU64>,
    areas: Vec<AtomicU16>,
    nonempty: Vec<AtomicU64>,
    whole: Vec<AtomicU64>,
    states: Vec<AtomicU8>,
    words: Vec<AtomicU64>,
    marks: Vec<AtomicU8>,
    cpus: Vec<CpuFrames>,
}

/// A CPU of the test machine.
#[derive(Clone, Copy)]
pub(crate) struct TestCpu<'a> {
    pub(crate) frames: &'a FrameAllocator<'a>,
    pub(crate) cpu: usize,
}

// SAFETY: 1, a copy has the same reference. 2, each test names CPUs that the allocator has, and uses each from one
// thread only.
unsafe impl FrameSource for TestCpu<'_> {
    fn frames(&self) -> &FrameAllocator<'_> {
        self.frames
    }

    fn cpu(&self) -> usize {
        self.cpu
    }
}

impl FrameAllocator<'_> {
    /// Whether somebody holds the frame: it is taken, and not in the cache of a CPU.
    pub(crate) fn is_allocated(&self, frame: u64) -> bool {
        self.is_taken(frame)
            && !self.cached_runs().any(|(first, count)| (first..first + count).contains(&frame))
    }

    /// Takes these frames, and no others, out of the bitmap.
    pub(super) fn claim(&self, first: u64, count: u64) {
        self.pool.unpromised.grant(count, count).unwrap().spend(count);
        assert!(self.pool.bitmap.claim_exactly(first, count));
    }

    /// Loses count of a free frame of the 2 MiB with this number.
    pub(crate) fn miscount(&self, area: usize) {
        self.pool.bitmap.miscount(area);
    }

    /// Loses count of a frame that is promised to nobody.
    pub(crate) fn miscount_unpromised(&self) {
        self.pool.unpromised.miscount();
    }
}

impl TestArrays {
    /// Arrays for this many frames and CPUs.
    pub(crate) fn new(frames: usize, cpus: usize) -> Self {
        fn fill<T: Default>(len: usize) -> Vec<T> {
            core::iter::repeat_with(T::default).take(len).collect()
        }
        let lengths = FrameArrayLengths::new(frames, cpus);
        Self {
            bitmap: fill(lengths.bitmap),
            areas: fill(lengths.areas),
            nonempty: fill(lengths.hints),
            whole: fill(lengths.hints),
            states: fill(lengths.frames),
            words: fill(lengths.frames),
            marks: fill(lengths.frames),
            cpus: fill(lengths.cpus),
        }
    }

    /// The arrays.
    pub(crate) fn arrays(&self) -> FrameArrays<'_> {
        FrameArrays {
            bitmap: &self.bitmap,
            areas: &self.areas,
            nonempty: &self.nonempty,
            whole: &self.whole,
            states: &self.states,
            words: &self.words,
            marks: &self.marks,
            cpus: &self.cpus,
        }
    }

    /// An allocator in which all frames but number 0 are free.
    pub(crate) fn allocator(&self) -> FrameAllocator<'_> {
        // SAFETY: 1 and 2, the tests make one allocator of each.
        let frames = unsafe { FrameAllocator::new(self.arrays()) }.unwrap();
        // SAFETY: the memory of these frames does not exist, so nobody uses it; no test touches it.
        unsafe { frames.add(0, frames.frame_count()) }.unwrap();
        frames
    }
}

impl FrameAllocator<'_> {
    /// The handle of a CPU.
    pub(crate) fn on_cpu(&self, cpu: usize) -> TestCpu<'_> {
        TestCpu { frames: self, cpu }
    }

    /// Checks that counters, hints and credit say what the bits say. Nobody may be allocating or freeing.
    pub(crate) fn assert_consistent(&self) {
        let bitmap = &self.pool.bitmap;
        for area in 0..bitmap.areas() {
            let words = bitmap.area_words(area).1;
            let clear: u32 = words.iter().map(|word| word.load(Ordering::Relaxed).count_zeros()).sum();
            assert_eq!(bitmap.counter(area), u64::from(clear), "counter of area {area}");
            let (nonempty, whole) = (bitmap.nonempty.next_set(area, None), bitmap.whole.next_set(area, None));
            assert!(clear == 0 || nonempty == Some(area), "area {area} has frames that no search finds");
            assert_eq!(bitmap.is_whole(area), whole == Some(area), "area {area} has a wrong hint");
        }
        let free: u64 = (0..bitmap.areas()).map(|area| bitmap.counter(area)).sum();
        assert_eq!(self.unpromised() + self.promised(), free, "{} are promised", self.promised());
    }
}
