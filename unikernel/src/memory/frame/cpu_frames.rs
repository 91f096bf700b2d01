//! The frames that a CPU keeps at hand, so that most requests touch no memory that other CPUs write.
//!
//! Reentrancy: only the CPU itself works on its cache, but a handler may interrupt it anywhere and want frames too.
//! `busy` says that somebody is inside. Who finds it set uses the bitmap instead, and waits for nobody. Plain loads and
//! stores do, because a handler ends before what it interrupted goes on: a handler between the load and the store of
//! [`CpuFrames::enter`] leaves the flag clear and the cache whole, and nothing of the cache was read before the store.
//! Compiler fences keep the accesses to the cache between the two stores to the flag; a CPU sees its own in order.

use crate::memory::atomic::{AtomicU8, AtomicU32, Ordering};
use core::sync::atomic::compiler_fence;

/// How many 4 KiB frames a CPU keeps at most.
#[cfg(not(loom))]
pub(super) const SMALL_MAX: usize = 64;
#[cfg(loom)]
pub(super) const SMALL_MAX: usize = 2;

/// How many areas, or 2 MiB frames, a CPU keeps at most.
#[cfg(not(loom))]
pub(super) const AREAS_MAX: usize = 4;
#[cfg(loom)]
pub(super) const AREAS_MAX: usize = 1;

/// How many 4 KiB frames move between a CPU and the bitmap at once: half, so that a CPU that goes back and forth at
/// either end does not move frames every time.
pub(super) const SMALL_BATCH: usize = SMALL_MAX / 2;

/// The frames that one CPU keeps. All of them are taken in the bitmap. Aligned so that no two CPUs write to a pair of
/// cache lines, which processors fetch together.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct CpuFrames {
    /// 1 while somebody is inside.
    busy: AtomicU8,
    areas: Stack<AREAS_MAX>,
    small: Stack<SMALL_MAX>,
    /// The area where 4 KiB frames were found last. Other CPUs read it, so it lies far from what is written often.
    near: AtomicU32,
}

/// A stack of frame or area numbers, the newest on top.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Stack<const MAX: usize> {
    depth: AtomicU32,
    entries: [AtomicU32; MAX],
}

/// The right to work on a CPU's cache.
#[derive(Debug)]
pub(super) struct Inside<'a>(&'a CpuFrames);

impl CpuFrames {
    /// No frames.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            busy: AtomicU8::new(0),
            areas: Stack { depth: AtomicU32::new(0), entries: [const { AtomicU32::new(0) }; AREAS_MAX] },
            small: Stack { depth: AtomicU32::new(0), entries: [const { AtomicU32::new(0) }; SMALL_MAX] },
            near: AtomicU32::new(0),
        }
    }

    /// No frames.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        let zero = |_| AtomicU32::new(0);
        Self {
            busy: AtomicU8::new(0),
            areas: Stack { depth: zero(0), entries: core::array::from_fn(zero) },
            small: Stack { depth: zero(0), entries: core::array::from_fn(zero) },
            near: zero(0),
        }
    }

    /// Forgets all frames and starts at this area.
    pub(super) fn reset(&self, near: u32) {
        self.busy.store(0, Ordering::Relaxed);
        self.near.store(near, Ordering::Relaxed);
        self.small.depth.store(0, Ordering::Relaxed);
        self.areas.depth.store(0, Ordering::Relaxed);
    }

    /// Enters the cache of the CPU that runs this, unless it was interrupted inside.
    #[inline]
    pub(super) fn enter(&self) -> Option<Inside<'_>> {
        // Relaxed, here and in all of this file: only one CPU writes, and others read for statistics.
        if self.busy.load(Ordering::Relaxed) != 0 {
            return None;
        }
        self.busy.store(1, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        Some(Inside(self))
    }

    /// The area that searches begin at.
    pub(super) fn near(&self) -> usize {
        self.near.load(Ordering::Relaxed) as usize
    }

    /// The 4 KiB frames in it, for statistics and audit: exact if nobody is inside.
    pub(super) fn small(&self) -> &Stack<SMALL_MAX> {
        &self.small
    }

    /// The areas in it, for statistics and audit: exact if nobody is inside.
    pub(super) fn areas(&self) -> &Stack<AREAS_MAX> {
        &self.areas
    }
}

impl Default for CpuFrames {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Inside<'a> {
    /// The 4 KiB frames.
    #[inline]
    pub(super) fn small(&self) -> &'a Stack<SMALL_MAX> {
        &self.0.small
    }

    /// The areas.
    #[inline]
    pub(super) fn areas(&self) -> &'a Stack<AREAS_MAX> {
        &self.0.areas
    }

    /// Makes this the area that searches begin at.
    pub(super) fn set_near(&self, area: usize) {
        self.0.near.store(area as u32, Ordering::Relaxed);
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        self.0.busy.store(0, Ordering::Relaxed);
    }
}

impl<const MAX: usize> Stack<MAX> {
    /// Takes the newest entry.
    #[inline]
    pub(super) fn pop(&self) -> Option<u32> {
        let depth = self.depth.load(Ordering::Relaxed).wrapping_sub(1);
        // An empty stack has no entry at the index that wraps around.
        let entry = self.entries.get(depth as usize)?.load(Ordering::Relaxed);
        self.depth.store(depth, Ordering::Relaxed);
        Some(entry)
    }

    /// Puts an entry on top, and says whether there was room.
    #[inline]
    pub(super) fn push(&self, entry: u32) -> bool {
        let depth = self.depth.load(Ordering::Relaxed);
        let Some(place) = self.entries.get(depth as usize) else { return false };
        place.store(entry, Ordering::Relaxed);
        self.depth.store(depth + 1, Ordering::Relaxed);
        true
    }

    /// The newest entry.
    #[inline]
    pub(super) fn top(&self) -> Option<u32> {
        let depth = self.depth.load(Ordering::Relaxed).wrapping_sub(1);
        Some(self.entries.get(depth as usize)?.load(Ordering::Relaxed))
    }

    /// Takes the oldest entries into `out`, as many as there are and fit, and says how many.
    pub(super) fn take_oldest(&self, out: &mut [u32]) -> usize {
        let depth = self.len();
        let taken = depth.min(out.len());
        for (out, entry) in out.iter_mut().zip(&self.entries) {
            *out = entry.load(Ordering::Relaxed);
        }
        for (to, from) in self.entries[..depth].iter().zip(&self.entries[taken..depth]) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.depth.store((depth - taken) as u32, Ordering::Relaxed);
        taken
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        (self.depth.load(Ordering::Relaxed) as usize).min(MAX)
    }

    /// The entries, the oldest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = u32> {
        self.entries.iter().take(self.len()).map(|entry| entry.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_stack_refuses_more_than_fits_and_gives_the_oldest_first() {
        let cpu = CpuFrames::new();
        let inside = cpu.enter().unwrap();
        let stack = inside.small();
        assert!((0..SMALL_MAX as u32).all(|entry| stack.push(entry)));
        assert!(!stack.push(99));
        let mut oldest = [0; SMALL_BATCH];
        assert_eq!(stack.take_oldest(&mut oldest), SMALL_BATCH);
        assert!(oldest.iter().copied().eq(0..SMALL_BATCH as u32));
        assert!(stack.entries().eq(SMALL_BATCH as u32..SMALL_MAX as u32));
        let rest: Vec<u32> = core::iter::from_fn(|| stack.pop()).collect();
        assert!(rest.iter().copied().eq((SMALL_BATCH as u32..SMALL_MAX as u32).rev()));
        assert_eq!(stack.take_oldest(&mut oldest), 0);
    }

    #[test]
    fn only_one_is_inside() {
        let cpu = CpuFrames::new();
        let inside = cpu.enter();
        assert!(inside.is_some());
        assert!(cpu.enter().is_none());
        drop(inside);
        assert!(cpu.enter().is_some());
    }
}
