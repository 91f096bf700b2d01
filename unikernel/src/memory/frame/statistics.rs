//! How many frames are free, and where.

use super::FrameAllocator;
use super::area::AREA_FRAMES;
use super::pool::Pool;
use crate::memory::atomic::Ordering;
use core::iter;

/// The frame allocator in numbers. Exact while nobody allocates or frees; else each number is near.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameStatistics {
    /// 4 KiB frames that were ever added.
    pub total: u64,
    /// 4 KiB frames that are free, those in the caches of CPUs included.
    pub free: u64,
    /// 4 KiB frames in the caches of CPUs.
    pub cached: u64,
    /// 4 KiB frames that are free, and promised to credits.
    pub promised: u64,
    /// 2 MiB areas that are free as a whole, those in the caches of CPUs included.
    pub whole_areas: u64,
    /// 4 KiB frames that were freed while they were free. Each is a mistake in unsafe code, and had no effect.
    pub double_frees: u64,
}

impl FrameAllocator<'_> {
    /// The numbers. Takes a look at every 2 MiB of memory.
    #[must_use]
    pub fn statistics(&self) -> FrameStatistics {
        let bitmap = &self.pool.bitmap;
        let cached = self.pool.cached_runs().map(|(_, count)| count).sum();
        let cached_areas = self.pool.cached_runs().filter(|(_, count)| *count == AREA_FRAMES).count() as u64;
        let whole_areas = (0..bitmap.areas()).filter(|area| bitmap.is_whole(*area)).count() as u64;
        FrameStatistics {
            total: self.total.load(Ordering::Relaxed),
            free: (0..bitmap.areas()).map(|area| bitmap.counter(area)).sum::<u64>() + cached,
            cached,
            promised: self.promised(),
            whole_areas: whole_areas + cached_areas,
            double_frees: bitmap.double_frees(),
        }
    }
}

impl Pool<'_> {
    /// First frame and number of frames of everything in the caches.
    pub(super) fn cached_runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.cpus.iter().flat_map(|cpu| {
            let areas = cpu.areas().entries().map(|area| u64::from(area) * AREA_FRAMES);
            let frames = cpu.small().entries().map(u64::from);
            areas.zip(iter::repeat(AREA_FRAMES)).chain(frames.zip(iter::repeat(1)))
        })
    }
}
