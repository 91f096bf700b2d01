//! The frame allocator of a machine: the pool of free frames, and what is noted about each frame beside it.

use super::arrays::{FrameArrays, FrameArraysError};
use super::bitmap::Bitmap;
use super::known_ram::KnownRam;
use super::pool::Pool;
use super::state::FrameState;
use super::state_bytes::fill;
use crate::memory::atomic::{AtomicU8, AtomicU64, Ordering};

/// All physical frames with numbers below [`frame_count`](Self::frame_count).
#[derive(Debug)]
pub struct FrameAllocator<'a> {
    pub(super) pool: Pool<'a>,
    pub(super) states: &'a [AtomicU8],
    pub(super) total: AtomicU64,
    pub(super) known_ram: KnownRam,
    words: &'a [AtomicU64],
    marks: &'a [AtomicU8],
    /// Tells allocators apart, also one that lies where another was.
    id: u64,
    /// The word and the mark of every frame beyond the end.
    beyond: (AtomicU64, AtomicU8),
}

impl<'a> FrameAllocator<'a> {
    /// An allocator in these arrays. Every frame is a [`FrameState::Hole`] at first, and none is free.
    ///
    /// # Errors
    /// [`FrameArraysError`] if the arrays do not fit together.
    ///
    /// # Safety
    /// 1. While the allocator exists, nobody else writes the arrays.
    /// 2. No other allocator is made of them.
    pub unsafe fn new(arrays: FrameArrays<'a>) -> Result<Self, FrameArraysError> {
        arrays.check()?;
        let FrameArrays { bitmap, areas, nonempty, whole, states, words, marks, cpus } = arrays;
        // SAFETY: by the caller's promise nobody else has the array.
        unsafe { fill(states, FrameState::Hole.encode()) };
        // Not the model checker's: nothing is ordered by it.
        static NEXT: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);
        Ok(Self {
            id: NEXT.fetch_add(1, core::sync::atomic::Ordering::Relaxed),
            pool: Pool::new(Bitmap::new(bitmap, areas, nonempty, whole), cpus),
            states,
            total: AtomicU64::new(0),
            known_ram: KnownRam::new(),
            words,
            marks,
            beyond: (AtomicU64::new(0), AtomicU8::new(0)),
        })
    }

    /// A number that no other allocator has.
    #[inline]
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// How many CPUs have a cache.
    #[must_use]
    pub fn cpus(&self) -> usize {
        self.pool.cpus.len()
    }

    /// How many frame numbers there are, from 0 up, holes included.
    #[must_use]
    pub fn frame_count(&self) -> u64 {
        self.states.len() as u64
    }

    /// The use of a frame: a hole beyond the end.
    #[must_use]
    pub fn state(&self, frame: u64) -> FrameState {
        // Relaxed, as in all of this file: the owner of a frame writes, and ownership is handed over by other means.
        let byte = usize::try_from(frame).ok().and_then(|index| self.states.get(index));
        byte.and_then(|byte| FrameState::decode(byte.load(Ordering::Relaxed))).unwrap_or(FrameState::Hole)
    }

    /// Notes the use of a frame. Beyond the end it does nothing.
    pub(crate) fn set_state(&self, frame: u64, state: FrameState) {
        if let Some(byte) = self.states.get(frame as usize) {
            byte.store(state.encode(), Ordering::Relaxed);
        }
    }

    /// Notes the use of `count` frames from number `first` on. Beyond the end it does nothing.
    pub(crate) fn set_states(&self, first: u64, count: u64, state: FrameState) {
        for byte in self.states_of(first, count) {
            byte.store(state.encode(), Ordering::Relaxed);
        }
    }

    /// The word of a frame, which belongs to who owns the frame, and holds what the last owner left. All frames beyond
    /// the end share one word that means nothing.
    #[must_use]
    #[inline]
    pub(crate) fn word(&self, frame: u64) -> &AtomicU64 {
        self.words.get(frame as usize).unwrap_or(&self.beyond.0)
    }

    /// The mark of a frame, which belongs to the audit. All frames beyond the end share one that means nothing.
    #[must_use]
    #[inline]
    pub(crate) fn mark(&self, frame: u64) -> &AtomicU8 {
        self.marks.get(frame as usize).unwrap_or(&self.beyond.1)
    }

    /// Whether all of `count` frames from number `first` on are RAM, free or not.
    #[must_use]
    pub fn is_ram(&self, first: u64, count: u64) -> bool {
        if self.known_ram.contains(first, count) {
            return true;
        }
        let states = self.states_of(first, count);
        let hole = FrameState::Hole.encode();
        states.len() as u64 == count && all(states, |state| state != hole)
    }

    /// Whether none of `count` frames from number `first` on is RAM. All beyond the end are holes.
    #[must_use]
    pub fn is_hole(&self, first: u64, count: u64) -> bool {
        let hole = FrameState::Hole.encode();
        all(self.states_of(first, count), |state| state == hole)
    }

    /// Whether the bitmap says that the frame is not free. True also for a frame in the cache of a CPU, and for what was
    /// never handed out; false beyond the end. With [`cached_runs`](Self::cached_runs), what an audit of all frames
    /// needs.
    #[must_use]
    pub fn is_taken(&self, frame: u64) -> bool {
        self.pool.bitmap.is_taken(frame)
    }

    /// First frame and number of frames of everything in the caches of CPUs. Exact while no other CPU runs.
    pub fn cached_runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.pool.cached_runs()
    }

    /// The part of `count` states from `first` on that there is.
    pub(super) fn states_of(&self, first: u64, count: u64) -> &'a [AtomicU8] {
        let len = self.frame_count();
        let range = first.min(len) as usize..first.saturating_add(count).min(len) as usize;
        self.states.get(range).unwrap_or(&[])
    }
}

/// Whether all states are such. Looked at without a branch for each, since they may be those of a machine's whole RAM.
fn all(states: &[AtomicU8], is_such: impl Fn(u8) -> bool) -> bool {
    let block_is = |block: &[AtomicU8]| {
        block.iter().fold(true, |all, state| all & is_such(state.load(Ordering::Relaxed)))
    };
    states.chunks(64).all(block_is)
}
