//! The CPUs' caches in front of the shared bitmap. Everything here is in frame and area numbers.
//!
//! A request goes to the cache of its CPU. If that is empty, full, or busy with what this CPU was interrupted in, it
//! goes to the bitmap, in batches that touch each bitmap word once. A request that the bitmap can't satisfy drains the
//! cache of its own CPU and tries once more. The caches of other CPUs stay out of reach: up to [`CACHED_MAX`] frames in
//! each.
//!
//! A frame that is freed twice is found out by the bitmap, or because it lies on top of the CPU's cache. Deeper in a
//! cache, in that of another CPU, or in the middle of a 2 MiB frame, it is found when the cache gives it back, unless it
//! was handed out twice before.

use super::area::{AREA_FRAMES, AREA_WORDS, WORD_FRAMES, for_each_run};
use super::bitmap::Bitmap;
use super::cpu_frames::{AREAS_MAX, CpuFrames, Inside, SMALL_BATCH, SMALL_MAX};
use super::search::Start;

/// How many 4 KiB frames the cache of one CPU holds at most, its 2 MiB frames included.
pub const CACHED_MAX: u64 = SMALL_MAX as u64 + AREAS_MAX as u64 * AREA_FRAMES;

/// A batch of up to this many frames is first looked for in the CPU's cache.
pub(super) const BATCH_FROM_CACHE: u64 = SMALL_BATCH as u64;

/// Bitmap and caches.
#[derive(Debug)]
pub(super) struct Pool<'a> {
    pub(super) bitmap: Bitmap<'a>,
    pub(super) cpus: &'a [CpuFrames],
}

impl<'a> Pool<'a> {
    /// A pool with empty caches, whose CPUs start at places far from each other.
    pub(super) fn new(bitmap: Bitmap<'a>, cpus: &'a [CpuFrames]) -> Self {
        for (index, cpu) in cpus.iter().enumerate() {
            cpu.reset((bitmap.areas() / cpus.len() * index) as u32);
        }
        Self { bitmap, cpus }
    }

    /// Takes `count` frames of `size` 4 KiB frames each, contiguous and aligned to that size.
    #[inline]
    pub(super) fn allocate(&self, cpu: usize, size: u64, count: u64) -> Option<u64> {
        match (size, count) {
            (1, 1) => self.allocate_frame(cpu),
            (_, 0) => None,
            (1, _) => self.allocate_run(cpu, count),
            (AREA_FRAMES, 1) => Some(self.allocate_area(cpu)? * AREA_FRAMES),
            _ => {
                let (areas, align) = (count.checked_mul(size / AREA_FRAMES)?, size / AREA_FRAMES);
                Some(self.allocate_areas(cpu, areas, align)? * AREA_FRAMES)
            }
        }
    }

    /// Gives back `count` contiguous frames.
    #[inline]
    pub(super) fn free(&self, cpu: usize, first: u64, count: u64) {
        match count {
            1 => self.free_frame(cpu, first),
            AREA_FRAMES if first.is_multiple_of(AREA_FRAMES) => self.free_area(cpu, first / AREA_FRAMES),
            _ => {
                self.bitmap.release(first, count);
            }
        }
    }

    /// Takes a frame.
    #[inline]
    pub(super) fn allocate_frame(&self, cpu: usize) -> Option<u64> {
        match self.enter(cpu).and_then(|inside| inside.small().pop()) {
            Some(frame) => Some(u64::from(frame)),
            None => self.find_frame(cpu),
        }
    }

    /// Gives a frame back.
    #[inline]
    pub(super) fn free_frame(&self, cpu: usize, frame: u64) {
        let number = frame as u32;
        let keep = |inside: Inside<'_>| inside.small().top() != Some(number) && inside.small().push(number);
        if !self.bitmap.is_taken(frame) || !self.enter(cpu).is_some_and(keep) {
            self.give_back_frame(cpu, frame);
        }
    }

    /// Takes an area.
    #[inline]
    pub(super) fn allocate_area(&self, cpu: usize) -> Option<u64> {
        if let Some(area) = self.enter(cpu).and_then(|inside| inside.areas().pop()) {
            return Some(u64::from(area));
        }
        self.allocate_areas(cpu, 1, 1)
    }

    /// Takes an area, and leaves the cache of 4 KiB frames alone if there is none.
    pub(super) fn try_allocate_area(&self, cpu: usize) -> Option<u64> {
        let cached = self.enter(cpu).and_then(|inside| inside.areas().pop()).map(u64::from);
        cached.or_else(|| Some(self.bitmap.claim_areas(self.near(cpu), 1, 1)? as u64))
    }

    /// Gives an area back.
    #[inline]
    pub(super) fn free_area(&self, cpu: usize, area: u64) {
        if self.bitmap.looks_taken(area as usize)
            && self.enter(cpu).is_some_and(|inside| inside.areas().push(area as u32))
        {
            return;
        }
        self.bitmap.release(area.saturating_mul(AREA_FRAMES), AREA_FRAMES);
    }

    /// Takes `count` consecutive areas, the first a multiple of `align`.
    #[cold]
    pub(super) fn allocate_areas(&self, cpu: usize, count: u64, align: u64) -> Option<u64> {
        let (count, align) = (usize::try_from(count).ok()?, usize::try_from(align).ok()?);
        let claim = || self.bitmap.claim_areas(self.near(cpu), count, align).map(|area| area as u64);
        claim().or_else(|| self.drain(cpu).then(claim)?)
    }

    /// Takes `count` contiguous frames: within one area, or from the start of one.
    pub(super) fn allocate_run(&self, cpu: usize, count: u64) -> Option<u64> {
        match count {
            AREA_FRAMES => Some(self.allocate_area(cpu)? * AREA_FRAMES),
            0..AREA_FRAMES => {
                let claim = || self.bitmap.claim_run(&self.start(cpu), count);
                claim().or_else(|| self.drain(cpu).then(claim)?)
            }
            _ => {
                let areas = count.div_ceil(AREA_FRAMES);
                let first = self.allocate_areas(cpu, areas, 1)? * AREA_FRAMES;
                self.bitmap.release(first + count, areas * AREA_FRAMES - count);
                Some(first)
            }
        }
    }

    /// Takes up to `most` frames out of the CPU's cache, giving each to `sink`.
    pub(super) fn take_cached(&self, cpu: usize, most: u64, mut sink: impl FnMut(u64)) {
        let Some(inside) = self.enter(cpu) else { return };
        for frame in (0..most).map_while(|_| inside.small().pop()) {
            sink(u64::from(frame));
        }
    }

    /// Takes between 1 and `most` frames of the bitmap, wherever they are, giving the first and the length of each
    /// run to `sink`. Returns whether there was one.
    pub(super) fn take_some(&self, cpu: usize, most: u64, mut sink: impl FnMut(u64, u64)) -> bool {
        let sink = |word, mask| for_each_run(word, mask, &mut sink);
        let area = self.bitmap.claim_anywhere(&self.start(cpu), most, sink);
        if let (Some(area), Some(inside)) = (area, self.enter(cpu)) {
            inside.set_near(area);
        }
        area.is_some()
    }

    /// Gives back all that the CPU's cache holds, and returns whether it held something.
    #[cold]
    pub(super) fn drain(&self, cpu: usize) -> bool {
        let Some(inside) = self.enter(cpu) else { return false };
        let small = self.give_back_small(&inside, SMALL_MAX);
        self.give_back_areas(&inside) || small
    }

    #[inline]
    fn enter(&self, cpu: usize) -> Option<Inside<'a>> {
        self.cpus.get(cpu)?.enter()
    }

    fn near(&self, cpu: usize) -> usize {
        self.cpus.get(cpu).map_or(0, CpuFrames::near)
    }

    fn start(&self, cpu: usize) -> Start<impl Fn(usize) -> bool> {
        let is_of_others = move |area| {
            self.cpus.iter().enumerate().any(|(index, other)| index != cpu && other.near() == area)
        };
        Start { near: self.near(cpu), is_of_others }
    }

    /// Takes a frame when there is none at hand.
    #[cold]
    fn find_frame(&self, cpu: usize) -> Option<u64> {
        match self.enter(cpu) {
            Some(inside) => self.refill(cpu, &inside),
            None => self.find_shared_frame(cpu),
        }
    }

    /// Fills the cache of 4 KiB frames by words of the bitmap, and takes one.
    fn refill(&self, cpu: usize, inside: &Inside<'_>) -> Option<u64> {
        // A handler may have filled it since it was found empty.
        if let Some(frame) = inside.small().pop() {
            return Some(u64::from(frame));
        }
        let claim = || {
            // The lowest frame comes on top, so that frames taken one by one ascend.
            let push = |word: usize, mut mask: u64| {
                while mask != 0 {
                    let bit = u64::BITS - 1 - mask.leading_zeros();
                    mask &= !(1 << bit);
                    inside.small().push(word as u32 * u64::BITS + bit);
                }
            };
            self.bitmap.claim_anywhere(&self.start(cpu), SMALL_BATCH as u64, push)
        };
        let area = claim().or_else(|| self.give_back_areas(inside).then(claim)?)?;
        inside.set_near(area);
        inside.small().pop().map(u64::from)
    }

    /// Takes a frame from the bitmap alone.
    fn find_shared_frame(&self, cpu: usize) -> Option<u64> {
        let mut frame = None;
        self.bitmap.claim_anywhere(&self.start(cpu), 1, |word, mask| {
            frame = Some(word as u64 * WORD_FRAMES + u64::from(mask.trailing_zeros()));
        })?;
        frame
    }

    /// Gives back a frame that the cache did not keep.
    #[cold]
    fn give_back_frame(&self, cpu: usize, frame: u64) {
        let number = frame as u32;
        if !self.bitmap.is_taken(frame) {
            return self.bitmap.count_double_frees(1);
        }
        match self.enter(cpu) {
            Some(inside) if inside.small().top() == Some(number) => self.bitmap.count_double_frees(1),
            Some(inside) => {
                self.give_back_small(&inside, SMALL_BATCH);
                inside.small().push(number);
            }
            None => self.bitmap.release_word((frame / WORD_FRAMES) as usize, 1 << (frame % WORD_FRAMES)),
        }
    }

    /// Gives back up to `most` of the oldest 4 KiB frames, those of one bitmap word together.
    #[cold]
    fn give_back_small(&self, inside: &Inside<'_>, most: usize) -> bool {
        let mut frames = [0; SMALL_MAX];
        let taken = inside.small().take_oldest(&mut frames[..most.min(SMALL_MAX)]);
        let mut rest = &mut frames[..taken];
        while let Some(word) = rest.first().map(|frame| frame / u64::BITS) {
            let (mut mask, mut others) = (0, 0);
            for index in 0..rest.len() {
                let frame = rest[index];
                if frame / u64::BITS == word {
                    let bit = 1 << (frame % u64::BITS);
                    if mask & bit != 0 {
                        self.bitmap.count_double_frees(1);
                    }
                    mask |= bit;
                } else {
                    rest[others] = frame;
                    others += 1;
                }
            }
            self.bitmap.release_word(word as usize, mask);
            rest = &mut rest[..others];
        }
        taken > 0
    }

    /// Gives back all cached areas.
    #[cold]
    fn give_back_areas(&self, inside: &Inside<'_>) -> bool {
        let mut any = false;
        while let Some(area) = inside.areas().pop() {
            self.bitmap.release(u64::from(area) * AREA_FRAMES, AREA_FRAMES);
            any = true;
        }
        any
    }
}

const _: () = assert!(AREA_WORDS as u64 * WORD_FRAMES == AREA_FRAMES && SMALL_BATCH >= 1);
