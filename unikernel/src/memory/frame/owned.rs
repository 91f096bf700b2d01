//! An owned frame: the right to one aligned block of RAM.
//!
//! Life of a frame: the allocator makes it a value here; the value is kept, split, or turned into a raw address by
//! [`Frame::into_raw`] when a page-table entry or a node takes over the ownership; [`Frame::from_raw`] makes it a value
//! again when the entry is gone; dropping the value gives the memory back. It can't be copied.

use super::out_of_frames::OutOfFrames;
use super::state::FrameState;
use super::{FrameRun, FrameSource};
use crate::memory::address::PhysAddr;
use crate::memory::page_size::{Divisible, PARTS, PageSize};
use core::fmt;
use core::marker::PhantomData;
use core::mem;

/// An owned block of RAM of size `S`, aligned to its size, that goes back to the machine when dropped. Its contents are
/// what the last owner left.
#[must_use = "dropping a frame gives it back"]
pub struct Frame<S: PageSize, M: FrameSource> {
    machine: M,
    start: PhysAddr,
    size: PhantomData<S>,
}

impl<S: PageSize, M: FrameSource> Frame<S, M> {
    /// Takes a frame that is free.
    ///
    /// # Errors
    /// [`OutOfFrames`] if there is none.
    #[inline]
    pub fn allocate(machine: M) -> Result<Self, OutOfFrames> {
        match machine.frames().pool.allocate(machine.cpu(), S::FRAMES, 1) {
            Some(first) => Ok(Self { machine, start: PhysAddr::of_frame(first), size: PhantomData }),
            None => Err(OutOfFrames::new::<S>(machine, 1)),
        }
    }

    /// Its physical address.
    #[must_use]
    pub fn start(&self) -> PhysAddr {
        self.start
    }

    /// The machine that it belongs to.
    #[must_use]
    pub fn machine(&self) -> M {
        self.machine
    }

    /// Hands the ownership to who keeps the address, to be taken back by [`from_raw`](Self::from_raw).
    #[must_use = "only `from_raw` can free it again"]
    pub fn into_raw(self) -> PhysAddr {
        let start = self.start;
        mem::forget(self);
        start
    }

    /// Takes the ownership back.
    ///
    /// # Safety
    /// 1. The address comes from [`into_raw`](Self::into_raw) of a frame of this size and machine, or lies in a larger
    ///    one, or a run, that was given up in the same way.
    /// 2. For each time that the memory was given up, it is taken back once.
    pub unsafe fn from_raw(machine: M, start: PhysAddr) -> Self {
        debug_assert!(start.is_aligned(S::LEN_BYTES), "{start} is no frame of {}", S::NAME);
        Self { machine, start, size: PhantomData }
    }

    /// Gives the memory up for good, and notes so in the frame states.
    pub fn leak(self) -> PhysAddr {
        let first = self.start.frame_number();
        self.machine.frames().set_states(first, S::FRAMES, FrameState::Lost);
        self.into_raw()
    }
}

impl<S: Divisible, M: FrameSource> Frame<S, M> {
    /// The same memory as 512 frames of the next smaller size.
    pub fn split(self) -> FrameRun<S::Part, M> {
        let machine = self.machine;
        // SAFETY: answers `FrameRun::from_raw`: the memory is given up here, and taken back as the same number of
        // frames.
        unsafe { FrameRun::from_raw(machine, self.into_raw(), PARTS) }
    }
}

impl<S: PageSize, M: FrameSource> Drop for Frame<S, M> {
    #[inline]
    fn drop(&mut self) {
        self.machine.frames().pool.free(self.machine.cpu(), self.start.frame_number(), S::FRAMES);
    }
}

impl<S: PageSize, M: FrameSource> fmt::Debug for Frame<S, M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Frame({} at {})", S::NAME, self.start)
    }
}
