//! Frames for tables, taken before an operation's first store, so that it can't fail half way.

use super::machine::Machine;
use crate::memory::frame::{Frame, FrameBatch, OutOfFrames};
use crate::memory::page_size::Size4KiB;

/// Frames that will become tables. What is left over goes back when it is dropped.
pub(crate) struct NodeReserve<M: Machine>(FrameBatch<Size4KiB, M>);

impl<M: Machine> NodeReserve<M> {
    pub(crate) fn new(machine: M, count: u64) -> Result<Self, OutOfFrames> {
        Ok(Self(FrameBatch::allocate(machine, count)?))
    }

    /// One of the frames.
    #[inline(never)]
    pub(crate) fn take(&mut self) -> Frame<Size4KiB, M> {
        let Some(run) = self.0.pop_run(1) else {
            unreachable!("an operation takes no more tables than it surveyed")
        };
        run.split_first().0
    }

    /// A frame that was not needed.
    pub(crate) fn put(&mut self, frame: Frame<Size4KiB, M>) {
        let Ok(()) = self.0.push(frame.into()) else {
            unreachable!("the frame was taken out of this reserve")
        };
    }
}
