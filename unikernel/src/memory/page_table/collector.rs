//! Gathers the leaves that an operation frees into runs: memory goes back by the run, and not by the frame.

use super::level::LeafSize;
use super::machine::Machine;
use super::ownership::{LeafRun, Ownership};
use crate::memory::address::PhysAddr;

/// Leaves of kind `O` on their way to be dropped. For leaves that own nothing it does nothing.
pub(crate) struct Collector<O: Ownership, S: LeafSize, M: Machine> {
    machine: M,
    start: PhysAddr,
    count: u64,
    /// 4 KiB frames that went back, counted by the run.
    freed_frames: u64,
    kind: core::marker::PhantomData<(O, S)>,
}

impl<O: Ownership, S: LeafSize, M: Machine> Collector<O, S, M> {
    #[inline]
    pub(crate) fn new(machine: M) -> Self {
        Self { machine, start: PhysAddr::new(0), count: 0, freed_frames: 0, kind: core::marker::PhantomData }
    }

    /// Frees the leaf at `phys`, at the latest when the collector is dropped.
    ///
    /// # Safety
    /// As for [`Leaf::from_phys`](super::ownership::Leaf::from_phys), of kind `O` and size `S`.
    #[inline]
    pub(crate) unsafe fn put(&mut self, phys: PhysAddr) {
        if !core::mem::needs_drop::<O::Run<S, M>>() {
            return;
        }
        if phys.as_u64() != self.start.as_u64() + self.count * S::LEN_BYTES || self.count == 0 {
            self.free();
            self.start = phys;
        }
        self.count += 1;
    }

    fn free(&mut self) {
        if self.count > 0 {
            // SAFETY: each leaf of it was put in by the promise that `put` asks for, and is taken back here only.
            drop(unsafe { O::Run::<S, M>::from_phys(self.machine, self.start, self.count) });
            self.freed_frames += self.count * S::FRAMES;
            self.count = 0;
        }
    }

    /// Frees what is left, and says how many 4 KiB frames the leaves owned in all.
    pub(crate) fn finish(mut self) -> u64 {
        self.free();
        self.freed_frames
    }
}

impl<O: Ownership, S: LeafSize, M: Machine> Drop for Collector<O, S, M> {
    fn drop(&mut self) {
        self.free();
    }
}
