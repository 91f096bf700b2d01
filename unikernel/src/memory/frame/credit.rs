//! Frames that were promised and not yet taken.
//!
//! Who will need frames where it can't say that there are none, as the handler of a page fault, reserves them before, as
//! credit. Reserving is what fails when memory is short, together with every allocation that would eat into what was
//! promised. Taking from a credit does not fail, wherever it is done.

use super::area::AREA_FRAMES;
use super::out_of_frames::OutOfFrames;
use super::source::same_allocator;
use super::{Frame, FrameAllocator, FrameSource};
use crate::memory::address::PhysAddr;
use crate::memory::page_size::{Size2MiB, Size4KiB};
use core::fmt;
use core::mem;

/// A promise of so many 4 KiB frames. What is left of it when it is dropped goes back.
#[must_use = "dropping a credit gives the promise back"]
pub struct FrameCredit<M: FrameSource> {
    machine: M,
    frames: u64,
}

impl<M: FrameSource> FrameCredit<M> {
    /// A promise of nothing.
    pub fn none(machine: M) -> Self {
        Self { machine, frames: 0 }
    }

    /// Promises so many 4 KiB frames: all or none.
    ///
    /// # Errors
    /// [`OutOfFrames`] if there are not as many that are free and promised to nobody.
    pub fn reserve(machine: M, frames: u64) -> Result<Self, OutOfFrames> {
        if machine.frames().pool.promise(machine.cpu(), frames) {
            Ok(Self { machine, frames })
        } else {
            Err(OutOfFrames::new::<Size4KiB>(machine, frames))
        }
    }

    /// How many 4 KiB frames are left of it.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The machine whose frames they are.
    #[must_use]
    pub fn machine(&self) -> M {
        self.machine
    }

    /// Takes one of the frames. `None` if none is left.
    ///
    /// It waits for nobody, and works also in a handler that interrupted the allocator.
    #[inline]
    pub fn take(&mut self) -> Option<Frame<Size4KiB, M>> {
        let left = self.frames.checked_sub(1)?;
        // The allocator has none only if `from_frames` was told of more than there were.
        let first = self.machine.frames().pool.redeem_frame(self.machine.cpu())?;
        self.frames = left;
        // SAFETY: answers `Frame::from_raw`: 1 and 2, the pool gave this frame up.
        Some(unsafe { Frame::from_raw(self.machine, PhysAddr::of_frame(first)) })
    }

    /// Takes 512 of the frames as one. `None` if fewer are left, or if no 2 MiB are free as a whole: then frames of
    /// 4 KiB can be had.
    pub fn take_large(&mut self) -> Option<Frame<Size2MiB, M>> {
        let left = self.frames.checked_sub(AREA_FRAMES)?;
        let area = self.machine.frames().pool.redeem_area(self.machine.cpu())?;
        self.frames = left;
        // SAFETY: answers `Frame::from_raw`: 1 and 2, the pool gave this area up, which is as large and aligned.
        Some(unsafe { Frame::from_raw(self.machine, PhysAddr::of_frame(area * AREA_FRAMES)) })
    }

    /// So many frames of it as a credit of their own. `None` if it has fewer.
    pub fn split(&mut self, frames: u64) -> Option<Self> {
        self.frames = self.frames.checked_sub(frames)?;
        Some(Self { machine: self.machine, frames })
    }

    /// Adds another credit to this one.
    ///
    /// # Errors
    /// The other, if it is of another allocator.
    pub fn join(&mut self, other: Self) -> Result<(), Self> {
        if !same_allocator(&self.machine, &other.machine) {
            return Err(other);
        }
        self.frames += other.into_frames();
        Ok(())
    }

    /// Hands the promise to who keeps the number, to be taken back by [`from_frames`](Self::from_frames), at once or in
    /// parts.
    #[must_use = "only `from_frames` can give the promise back"]
    pub fn into_frames(self) -> u64 {
        let frames = self.frames;
        mem::forget(self);
        frames
    }

    /// Takes a promise back.
    ///
    /// # Safety
    /// 1. The frames are some of what [`into_frames`](Self::into_frames) of credits of this machine handed out.
    /// 2. Each of them is taken back once.
    ///
    /// Else frames are taken that were promised to others, and their page faults find none.
    pub unsafe fn from_frames(machine: M, frames: u64) -> Self {
        Self { machine, frames }
    }
}

impl FrameAllocator<'_> {
    /// 4 KiB frames that are free, in no CPU's cache, and promised to nobody. Near while others allocate.
    #[must_use]
    pub fn unpromised(&self) -> u64 {
        self.pool.unpromised.frames()
    }

    /// 4 KiB frames that credits hold.
    #[must_use]
    pub fn promised(&self) -> u64 {
        self.pool.unpromised.promised()
    }
}

impl<M: FrameSource> Drop for FrameCredit<M> {
    fn drop(&mut self) {
        self.machine.frames().pool.unpromised.give_back(self.frames);
    }
}

impl<M: FrameSource> fmt::Debug for FrameCredit<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FrameCredit({} of 4 KiB)", self.frames)
    }
}
