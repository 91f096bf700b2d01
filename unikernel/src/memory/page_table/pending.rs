//! What an operation owes: addresses that must be flushed, entries to be released after, and tables that were replaced.

use super::machine::Machine;
use super::span::Span;
use crate::memory::PAGE_LEN;
use crate::memory::address::PhysAddr;
use crate::memory::frame::{Frame, FrameBatch, FrameState};
use crate::memory::page_size::Size4KiB;
use core::mem::ManuallyDrop;

/// The debt of one owner of a range. It frees nothing when it is dropped.
pub(crate) struct Pending<M: Machine> {
    /// Around all that must be flushed; empty, with its start behind its end, if nothing must.
    hull: Span,
    /// Size in bytes of the smallest leaf in it: 1 GiB at most.
    stride_bytes: u32,
    /// The levels of the detached entries in the hull, each as the bit with its number.
    detached_levels: u8,
    /// Tables that promotion replaced. They are not written: paging-structure caches may lead into them still.
    replaced: ManuallyDrop<FrameBatch<Size4KiB, M>>,
}

impl<M: Machine> Pending<M> {
    pub(crate) fn new(machine: M) -> Self {
        let replaced = ManuallyDrop::new(FrameBatch::new(machine));
        let hull = Span { start: u64::MAX, end: 0 };
        Self { hull, stride_bytes: u32::MAX, detached_levels: 0, replaced }
    }

    /// `span` must be flushed, in which no leaf is smaller than `stride_bytes`.
    #[inline]
    pub(crate) fn owe(&mut self, span: Span, stride_bytes: u64) {
        let stride_bytes = stride_bytes as u32;
        // Most of many single pages lie between those before.
        if !self.hull.contains(span) || stride_bytes < self.stride_bytes {
            if self.hull.is_empty() {
                self.replaced.machine().space().count_detached();
            }
            self.hull = self.hull.hull(span);
            self.stride_bytes = self.stride_bytes.min(stride_bytes);
        }
    }

    /// Detached entries of tables of this level lie in what is owed.
    #[inline]
    pub(crate) const fn owe_entries(&mut self, level: u8) {
        self.detached_levels |= 1 << level;
    }

    /// The table in `frame` was replaced by one leaf.
    #[inline(never)]
    pub(crate) fn owe_table(&mut self, machine: &M, frame: Frame<Size4KiB, M>) {
        machine.frames().set_state(frame.start().frame_number(), FrameState::RetiredNode);
        let Ok(()) = self.replaced.push(frame.into()) else {
            unreachable!("tables belong to the machine that they are on")
        };
    }

    /// Whether nothing must be flushed.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.hull.is_empty()
    }

    /// What must be flushed, with the size of the smallest leaf in it.
    #[inline]
    pub(crate) fn flush_range(&self) -> Option<(Span, u64)> {
        (!self.is_empty())
            .then(|| (self.hull, u64::from(self.stride_bytes).clamp(PAGE_LEN, self.hull.len_bytes())))
    }

    /// The part of `span` around which something awaits a flush.
    #[inline]
    pub(crate) fn overlaps(&self, span: Span) -> Option<Span> {
        (!self.hull.intersection(span).is_empty()).then_some(self.hull)
    }

    /// Where detached entries lie, if there are any.
    pub(crate) fn detached_entries(&self) -> Option<Span> {
        (self.detached_levels != 0).then_some(self.hull)
    }

    /// Whether no detached entry is of a table of another level.
    pub(crate) const fn is_all_of_level(&self, level: u8) -> bool {
        self.detached_levels & !(1 << level) == 0
    }

    /// Frees the replaced tables, and counts them.
    ///
    /// # Safety
    /// What was owed has been flushed.
    #[inline(never)]
    pub(crate) unsafe fn free_replaced(self, machine: &M) -> u64 {
        let mut replaced = ManuallyDrop::into_inner(self.replaced);
        let count = replaced.count();
        while let Some(run) = replaced.pop_run(u64::MAX) {
            let first: PhysAddr = run.start();
            machine.frames().set_states(first.frame_number(), run.count(), FrameState::Unmapped);
        }
        count
    }
}
