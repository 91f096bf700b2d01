//! The CPUs' caches in front of the shared bitmap. Everything here is in frame and area numbers.
//!
//! A request goes to the cache of its CPU. If that is empty, full, or busy with what this CPU was interrupted in, it
//! goes to the bitmap, in batches that touch each bitmap word once. A request that the bitmap can't satisfy drains the
//! cache of its own CPU and tries once more. What it takes of the bitmap it is granted first, so that it never takes
//! what was promised to another. The caches of other CPUs stay out of reach: up to [`CACHED_MAX`] frames in
//! each.
//!
//! This file is about taking; [`give_back`](super::give_back) and [`redeem`](super::redeem) are the rest.

use super::area::{AREA_FRAMES, AREA_WORDS, WORD_FRAMES, for_each_run};
use super::bitmap::Bitmap;
use super::cpu_frames::{AREAS_MAX, CpuFrames, Inside, SMALL_BATCH, SMALL_MAX};
use super::search::Start;
use super::unpromised::{Grant, Unpromised};

/// How many 4 KiB frames the cache of one CPU holds at most, its 2 MiB frames included.
pub const CACHED_MAX: u64 = SMALL_MAX as u64 + AREAS_MAX as u64 * AREA_FRAMES;

/// A batch of up to this many frames is first looked for in the CPU's cache.
pub(super) const BATCH_FROM_CACHE: u64 = SMALL_BATCH as u64;

/// Bitmap and caches.
#[derive(Debug)]
pub(super) struct Pool<'a> {
    pub(super) bitmap: Bitmap<'a>,
    pub(super) cpus: &'a [CpuFrames],
    pub(super) unpromised: Unpromised,
}

impl<'a> Pool<'a> {
    /// A pool with empty caches, whose CPUs start at places far from each other.
    pub(super) fn new(bitmap: Bitmap<'a>, cpus: &'a [CpuFrames]) -> Self {
        for (index, cpu) in cpus.iter().enumerate() {
            cpu.reset((bitmap.areas() / cpus.len() * index) as u32);
        }
        Self { bitmap, cpus, unpromised: Unpromised::new() }
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

    /// Takes a frame.
    #[inline]
    pub(super) fn allocate_frame(&self, cpu: usize) -> Option<u64> {
        match self.enter(cpu).and_then(|inside| inside.small().pop()) {
            Some(frame) => Some(u64::from(frame)),
            None => self.find_frame(cpu),
        }
    }

    /// Takes an area.
    #[inline]
    pub(super) fn allocate_area(&self, cpu: usize) -> Option<u64> {
        self.take_cached_area(cpu).or_else(|| self.allocate_areas(cpu, 1, 1))
    }

    /// Takes an area out of the CPU's cache.
    #[inline]
    pub(super) fn take_cached_area(&self, cpu: usize) -> Option<u64> {
        self.enter(cpu)?.areas().pop().map(u64::from)
    }

    /// Takes an area of the bitmap, and leaves the cache of 4 KiB frames alone if there is none.
    pub(super) fn take_area(&self, grant: &mut Grant<'_>) -> Option<u64> {
        let area = self.bitmap.claim_areas(1, 1)?;
        grant.spend(AREA_FRAMES);
        Some(area as u64)
    }

    /// Takes `count` consecutive areas, the first a multiple of `align`.
    #[cold]
    pub(super) fn allocate_areas(&self, cpu: usize, count: u64, align: u64) -> Option<u64> {
        let frames = count.checked_mul(AREA_FRAMES)?;
        let (count, align) = (usize::try_from(count).ok()?, usize::try_from(align).ok()?);
        let claim = || self.bitmap.claim_areas(count, align).map(|area| area as u64);
        self.claim_granted(cpu, frames, claim)
    }

    /// Takes `count` contiguous frames: within one area, or from the start of one.
    pub(super) fn allocate_run(&self, cpu: usize, count: u64) -> Option<u64> {
        match count {
            AREA_FRAMES => Some(self.allocate_area(cpu)? * AREA_FRAMES),
            0..AREA_FRAMES => {
                self.claim_granted(cpu, count, || self.bitmap.claim_run(&self.start(cpu), count))
            }
            _ => {
                // Granted as whole areas, since all of them are taken for a moment.
                let areas = count.div_ceil(AREA_FRAMES);
                let first = self.allocate_areas(cpu, areas, 1)? * AREA_FRAMES;
                self.release(first + count, areas * AREA_FRAMES - count);
                Some(first)
            }
        }
    }

    /// So many frames of the bitmap that are promised to nobody, drained from the CPU's cache if there are not as many.
    pub(super) fn grant(&self, cpu: usize, frames: u64) -> Option<Grant<'_>> {
        let grant = || self.unpromised.grant(frames, frames);
        grant().or_else(|| self.drain(cpu).then(grant)?)
    }

    /// Claims so many frames of the bitmap, all or none, when they are granted; and once more when the CPU's cache is
    /// drained.
    fn claim_granted(&self, cpu: usize, frames: u64, claim: impl Fn() -> Option<u64>) -> Option<u64> {
        let claim = || {
            let mut grant = self.unpromised.grant(frames, frames)?;
            let first = claim()?;
            grant.spend(frames);
            Some(first)
        };
        claim().or_else(|| self.drain(cpu).then(claim)?)
    }

    /// Takes up to `most` frames out of the CPU's cache, giving each to `sink`.
    pub(super) fn take_cached(&self, cpu: usize, most: u64, mut sink: impl FnMut(u64)) {
        let Some(inside) = self.enter(cpu) else { return };
        for frame in (0..most).map_while(|_| inside.small().pop()) {
            sink(u64::from(frame));
        }
    }

    /// Takes between 1 and `most` granted frames of the bitmap, wherever they are, giving the first and the length of
    /// each run to `sink`. Returns whether there was one.
    pub(super) fn take_some(
        &self,
        cpu: usize,
        most: u64,
        grant: &mut Grant<'_>,
        mut sink: impl FnMut(u64, u64),
    ) -> bool {
        let most = most.min(grant.frames());
        let sink = |word, mask: u64| {
            grant.spend(u64::from(mask.count_ones()));
            for_each_run(word, mask, &mut sink);
        };
        let area = self.bitmap.claim_anywhere(&self.start(cpu), most, sink);
        if let (Some(area), Some(inside)) = (area, self.enter(cpu)) {
            inside.set_near(area);
        }
        area.is_some()
    }

    #[inline]
    pub(super) fn enter(&self, cpu: usize) -> Option<Inside<'a>> {
        self.cpus.get(cpu)?.enter()
    }

    pub(super) fn near(&self, cpu: usize) -> usize {
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
            None => self.claim_granted(cpu, 1, || self.claim_shared_frame(cpu)),
        }
    }

    /// Fills the cache of 4 KiB frames by words of the bitmap, and takes one.
    fn refill(&self, cpu: usize, inside: &Inside<'_>) -> Option<u64> {
        // A handler may have filled it since it was found empty.
        if let Some(frame) = inside.small().pop() {
            return Some(u64::from(frame));
        }
        if !self.fill(cpu, inside) {
            self.give_back_areas(inside).then_some(())?;
            self.fill(cpu, inside);
        }
        inside.small().pop().map(u64::from)
    }

    /// Fills the empty cache of 4 KiB frames by words of the bitmap, and says whether there is something in it.
    pub(super) fn fill(&self, cpu: usize, inside: &Inside<'_>) -> bool {
        let Some(mut grant) = self.unpromised.grant(1, SMALL_BATCH as u64) else { return false };
        let most = grant.frames();
        // The lowest frame comes on top, so that frames taken one by one ascend.
        let push = |word: usize, mut mask: u64| {
            grant.spend(u64::from(mask.count_ones()));
            while mask != 0 {
                let bit = u64::BITS - 1 - mask.leading_zeros();
                mask &= !(1 << bit);
                inside.small().push(word as u32 * u64::BITS + bit);
            }
        };
        let Some(area) = self.bitmap.claim_anywhere(&self.start(cpu), most, push) else { return false };
        inside.set_near(area);
        true
    }

    /// Takes a frame from the bitmap alone, by a grant or a promise.
    pub(super) fn claim_shared_frame(&self, cpu: usize) -> Option<u64> {
        let mut frame = None;
        self.bitmap.claim_anywhere(&self.start(cpu), 1, |word, mask| {
            frame = Some(word as u64 * WORD_FRAMES + u64::from(mask.trailing_zeros()));
        })?;
        frame
    }
}

const _: () = assert!(AREA_WORDS as u64 * WORD_FRAMES == AREA_FRAMES && SMALL_BATCH >= 1);
