//! Owned frames, in each form they come in, as what heap is mapped from.

use super::level::LeafSize;
use super::ownership::{Backing, Tracked, sealed};
use crate::memory::frame::{Frame, FrameBatch, FrameRun, FrameSource, same_allocator};

impl<S: LeafSize, M: FrameSource> sealed::Backing for Frame<S, M> {}
impl<S: LeafSize, M: FrameSource> sealed::Backing for FrameRun<S, M> {}
impl<S: LeafSize, M: FrameSource> sealed::Backing for FrameBatch<S, M> {}

impl<S: LeafSize, M: FrameSource> Backing<Tracked, S, M> for Frame<S, M> {
    #[inline]
    fn count(&self) -> u64 {
        1
    }

    #[inline]
    fn is_of(&self, machine: &M) -> bool {
        same_allocator(&self.machine(), machine)
    }

    #[inline]
    fn take(self, _: u64) -> (FrameRun<S, M>, Option<Self>) {
        (self.into(), None)
    }
}

impl<S: LeafSize, M: FrameSource> Backing<Tracked, S, M> for FrameRun<S, M> {
    #[inline]
    fn count(&self) -> u64 {
        Self::count(self)
    }

    #[inline]
    fn is_of(&self, machine: &M) -> bool {
        same_allocator(&self.machine(), machine)
    }

    #[inline]
    fn take(self, max: u64) -> (Self, Option<Self>) {
        match self.split_at(max) {
            Ok((first, rest)) => (first, Some(rest)),
            Err(whole) => (whole, None),
        }
    }
}

impl<S: LeafSize, M: FrameSource> Backing<Tracked, S, M> for FrameBatch<S, M> {
    #[inline]
    fn count(&self) -> u64 {
        Self::count(self)
    }

    #[inline]
    fn is_of(&self, machine: &M) -> bool {
        same_allocator(&self.machine(), machine)
    }

    #[inline]
    fn take(mut self, max: u64) -> (FrameRun<S, M>, Option<Self>) {
        let Some(run) = self.pop_run(max) else {
            unreachable!("a mapping takes no more frames than were counted")
        };
        let rest = Self::count(&self) > 0;
        (run, rest.then_some(self))
    }
}
