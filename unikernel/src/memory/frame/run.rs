//! An owned run of frames that lie side by side.

use super::out_of_frames::OutOfFrames;
use super::source::same_allocator;
use super::state::FrameState;
use super::{Frame, FrameSource};
use crate::memory::address::PhysAddr;
use crate::memory::page_size::{Divisible, PARTS, PageSize};
use core::fmt;
use core::marker::PhantomData;
use core::mem;

/// At least one frame of size `S`, contiguous, aligned to `S`; goes back to the machine when dropped.
#[must_use = "dropping a run gives it back"]
pub struct FrameRun<S: PageSize, M: FrameSource> {
    machine: M,
    start: PhysAddr,
    count: u64,
    size: PhantomData<S>,
}

impl<S: PageSize, M: FrameSource> FrameRun<S, M> {
    /// Takes `count` free frames that lie side by side. Of 4 KiB frames, up to 512 lie within one aligned block of
    /// 2 MiB, and more begin at one.
    ///
    /// # Errors
    /// [`OutOfFrames`] if there are not as many in a row, or for a count of 0.
    pub fn allocate(machine: M, count: u64) -> Result<Self, OutOfFrames> {
        match machine.frames().pool.allocate(machine.cpu(), S::FRAMES, count) {
            Some(first) => Ok(Self { machine, start: PhysAddr::of_frame(first), count, size: PhantomData }),
            None => Err(OutOfFrames::new::<S>(machine, count)),
        }
    }

    /// Physical address of the first frame.
    #[must_use]
    pub fn start(&self) -> PhysAddr {
        self.start
    }

    /// How many frames, at least 1.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Length in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.count * S::LEN_BYTES
    }

    /// The machine that it belongs to.
    #[must_use]
    pub fn machine(&self) -> M {
        self.machine
    }

    /// The first `count` frames and the rest.
    ///
    /// # Errors
    /// The run as it was, if one of the two would be empty.
    pub fn split_at(self, count: u64) -> Result<(Self, Self), Self> {
        if count == 0 || count >= self.count {
            return Err(self);
        }
        let (machine, start, all) = self.into_parts();
        let middle = PhysAddr::new(start.as_u64() + count * S::LEN_BYTES);
        Ok((Self::of_parts(machine, start, count), Self::of_parts(machine, middle, all - count)))
    }

    /// The first frame, and the rest if there is one.
    pub fn split_first(self) -> (Frame<S, M>, Option<Self>) {
        let (first, rest) = match self.split_at(1) {
            Ok((first, rest)) => (first, Some(rest)),
            Err(single) => (single, None),
        };
        let machine = first.machine;
        // SAFETY: answers `Frame::from_raw`: 1 and 2, a run of one frame is given up here and taken back as that frame.
        (unsafe { Frame::from_raw(machine, first.into_raw()) }, rest)
    }

    /// Both runs as one, if `other` follows this one.
    ///
    /// # Errors
    /// Both as they were, if they are not adjacent, or belong to two allocators.
    pub fn join(self, other: Self) -> Result<Self, (Self, Self)> {
        if self.start.as_u64() + self.len_bytes() != other.start.as_u64()
            || !same_allocator(&self.machine, &other.machine)
        {
            return Err((self, other));
        }
        let (machine, start, count) = self.into_parts();
        let (_, _, more) = other.into_parts();
        Ok(Self::of_parts(machine, start, count + more))
    }

    /// The run as one frame of the next larger size, if it is exactly that.
    ///
    /// # Errors
    /// The run as it was, if its length or alignment differ.
    pub fn merge<L: Divisible<Part = S>>(self) -> Result<Frame<L, M>, Self> {
        if self.count != PARTS || !self.start.is_aligned(L::LEN_BYTES) {
            return Err(self);
        }
        let machine = self.machine;
        // SAFETY: answers `Frame::from_raw`: 1 and 2, the same memory is given up here and taken back as one frame.
        Ok(unsafe { Frame::from_raw(machine, self.into_raw()) })
    }

    /// Hands the ownership to who keeps address and count, to be taken back by [`from_raw`](Self::from_raw), or frame
    /// by frame by [`Frame::from_raw`].
    #[must_use = "only `from_raw` can free it again"]
    pub fn into_raw(self) -> PhysAddr {
        self.into_parts().1
    }

    /// Takes the ownership back. `count` is at least 1.
    ///
    /// # Safety
    /// 1. All the memory was given up by `into_raw` of frames or runs of this machine, with sizes that are multiples
    ///    of this one.
    /// 2. For each time that the memory was given up, it is taken back once.
    pub unsafe fn from_raw(machine: M, start: PhysAddr, count: u64) -> Self {
        debug_assert!(count > 0, "an empty run at {start}");
        debug_assert!(start.is_aligned(S::LEN_BYTES), "{start} is no frame of {}", S::NAME);
        Self::of_parts(machine, start, count)
    }

    /// Gives the memory up for good, and notes so in the frame states.
    pub fn leak(self) -> PhysAddr {
        let frames = self.count * S::FRAMES;
        self.machine.frames().set_states(self.start.frame_number(), frames, FrameState::Lost);
        self.into_raw()
    }

    fn of_parts(machine: M, start: PhysAddr, count: u64) -> Self {
        Self { machine, start, count, size: PhantomData }
    }

    fn into_parts(self) -> (M, PhysAddr, u64) {
        let parts = (self.machine, self.start, self.count);
        mem::forget(self);
        parts
    }
}

impl<S: PageSize, M: FrameSource> From<Frame<S, M>> for FrameRun<S, M> {
    fn from(frame: Frame<S, M>) -> Self {
        Self::of_parts(frame.machine(), frame.into_raw(), 1)
    }
}

impl<S: PageSize, M: FrameSource> Drop for FrameRun<S, M> {
    fn drop(&mut self) {
        let frames = self.count * S::FRAMES;
        self.machine.frames().pool.free(self.machine.cpu(), self.start.frame_number(), frames);
    }
}

impl<S: PageSize, M: FrameSource> fmt::Debug for FrameRun<S, M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FrameRun({} of {} at {})", self.count, S::NAME, self.start)
    }
}
