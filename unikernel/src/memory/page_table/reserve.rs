//! Frames for tables, known to suffice before an operation's first store, so that it can't fail half way.

use super::error::Error;
use super::machine::Machine;
use super::span::VirtRange;
use crate::memory::frame::{Frame, FrameBatch, OutOfFrames, same_allocator};
use crate::memory::page_size::{PageSize, Size4KiB};

/// Frames that will become tables: the operation's own, or some of those that its caller brought.
pub(crate) struct NodeReserve<'b, M: Machine> {
    /// Taken from the allocator for this operation. What is left over goes back when it is dropped.
    own: FrameBatch<Size4KiB, M>,
    /// What the caller brought instead. What is left over stays there.
    brought: Option<&'b mut FrameBatch<Size4KiB, M>>,
}

impl<'b, M: Machine> NodeReserve<'b, M> {
    /// At least `count` frames for an operation on `range`: out of `brought`, if there is that, and else from the allocator.
    pub(crate) fn new(
        machine: M,
        range: VirtRange,
        count: u64,
        brought: Option<&'b mut FrameBatch<Size4KiB, M>>,
    ) -> Result<Self, Error> {
        let own = match &brought {
            Some(frames) if count > 0 && !same_allocator(&machine, &frames.machine()) => {
                return Err(Error::ForeignBacking { range });
            }
            Some(frames) if count > frames.count() => {
                let cause = OutOfFrames {
                    size: Size4KiB::NAME,
                    count,
                    free_frames: frames.count(),
                    promised_frames: 0,
                };
                return Err(Error::OutOfFrames { range, cause });
            }
            Some(_) => FrameBatch::new(machine),
            None => {
                FrameBatch::allocate(machine, count).map_err(|cause| Error::OutOfFrames { range, cause })?
            }
        };
        Ok(Self { own, brought })
    }

    fn frames(&mut self) -> &mut FrameBatch<Size4KiB, M> {
        self.brought.as_deref_mut().unwrap_or(&mut self.own)
    }

    /// One of the frames.
    #[inline(never)]
    pub(crate) fn take(&mut self) -> Frame<Size4KiB, M> {
        let Some(run) = self.frames().pop_run(1) else {
            unreachable!("an operation takes no more tables than it surveyed")
        };
        run.split_first().0
    }

    /// A frame that was not needed.
    pub(crate) fn put(&mut self, frame: Frame<Size4KiB, M>) {
        let Ok(()) = self.frames().push(frame.into()) else {
            unreachable!("the frame was taken out of this reserve")
        };
    }
}
