//! Several changes to one range under one flush.

use super::attributes::Attributes;
use super::error::{Error, Rejected};
use super::flush::Detached;
use super::level::{L1, L2, LeafSize, Level};
use super::machine::Machine;
use super::node_ref::NodeRef;
use super::ownership::{Backing, Leaf, Ownership};
use super::pending::Pending;
use super::query::{Leaves, Mapping};
use super::resize::{self, Compound};
use super::span::{Span, VirtRange};
use super::unmap::{self, Tables};
use super::va_range::VaRange;
use super::{map, protect, trim};
use crate::memory::PAGE_LEN;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::page_size::Size4KiB;

/// A [`VaRange`] at work. It gathers what must be flushed; [`Cursor::finish`] gives that, with the range in it.
///
/// It holds no lock, and has no `Drop`: a cursor that is dropped loses its range, and what it took out.
#[must_use = "finish it, to have the range back"]
pub struct Cursor<O: Ownership, M: Machine> {
    range: VaRange<O, M>,
    machine: M,
    pending: Pending<M>,
    near: Near,
}

/// The table of level 2 that the last single page was below. It can go away by this cursor alone, which forgets it then.
struct Near {
    /// The first address that it translates; none has this value if there is no such table.
    start: u64,
    table: PhysAddr,
}

impl Near {
    const NONE: Self = Self { start: u64::MAX, table: PhysAddr::new(0) };

    /// The table of the last level that translates `address`, if there is one.
    #[inline]
    fn last_table<'m, O: Ownership, M: Machine>(
        &mut self,
        machine: &'m M,
        address: u64,
    ) -> Option<NodeRef<'m, O, L1, M>> {
        let extent = NodeRef::<O, L2, M>::extent(address);
        if self.start != extent.start {
            // SAFETY: the address lies in the cursor's range, which is of kind `O`.
            let table = unsafe { L2::find::<O, M>(machine, address) }?.table();
            *self = Self { start: extent.start, table };
        }
        // SAFETY: it was found there by this cursor, whose range reaches into it. So only this cursor could have taken it out
        // since, which would have forgotten it.
        let near = unsafe { NodeRef::<O, L2, M>::at(machine, self.table) };
        near.child_at(address)
    }
}

impl<O: Ownership, M: Machine> Cursor<O, M> {
    pub(crate) fn new(range: VaRange<O, M>) -> Self {
        let machine = range.machine();
        Self { range, machine, pending: Pending::new(machine), near: Near::NONE }
    }

    /// The whole range.
    #[must_use]
    pub const fn range(&self) -> VirtRange {
        self.range.range()
    }

    /// Maps all of `backing` from `at` on, by leaves of size `S`.
    ///
    /// # Errors
    /// The backing, as for [`VaRange::map`], or with [`Error::AwaitingFlush`] if anything around there was taken out by this
    /// cursor.
    #[inline]
    pub fn map<S: LeafSize, B: Backing<O, S, M>>(
        &mut self,
        at: VirtAddr,
        backing: B,
        attributes: O::Attributes,
    ) -> Result<(), Rejected<B>> {
        if let Err(error) = self.settled(VirtRange::new(at, backing.count().saturating_mul(S::LEN_BYTES))) {
            return Err(Rejected::new(error, backing));
        }
        map::map::<O, S, M, B>(&self.machine, self.range.span(), at, backing, attributes, None)
    }

    /// Maps one 4 KiB page: like [`Cursor::map`], by a shorter way.
    ///
    /// # Errors
    /// The leaf, as for [`Cursor::map`].
    #[inline(always)]
    pub fn map_page(
        &mut self,
        at: VirtAddr,
        leaf: O::Leaf<Size4KiB, M>,
        attributes: O::Attributes,
    ) -> Result<(), Rejected<O::Leaf<Size4KiB, M>>>
    where
        O::Leaf<Size4KiB, M>: Backing<O, Size4KiB, M>,
    {
        let owned = self.range.span();
        let page = if self.pending.is_empty() { owned.page_inside(at) } else { None };
        if let Some(page) = page
            && Leaf::is_of(&leaf, &self.machine)
            && let Some(node) = self.near.last_table::<O, M>(&self.machine, page.start)
        {
            return map::map_in_table(node, owned, page, leaf, attributes);
        }
        self.map_page_by_range(at, leaf, attributes)
    }

    /// Out of line, for the short way to stay short.
    #[cold]
    #[inline(never)]
    fn map_page_by_range(
        &mut self,
        at: VirtAddr,
        leaf: O::Leaf<Size4KiB, M>,
        attributes: O::Attributes,
    ) -> Result<(), Rejected<O::Leaf<Size4KiB, M>>>
    where
        O::Leaf<Size4KiB, M>: Backing<O, Size4KiB, M>,
    {
        self.map::<Size4KiB, _>(at, leaf, attributes)
    }

    /// Refuses a range around which something awaits a flush.
    #[inline]
    fn settled(&self, range: VirtRange) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        match self.pending.overlaps(Span::check(range, PAGE_LEN)?) {
            Some(pending) => Err(Error::AwaitingFlush { range, pending: pending.range() }),
            None => Ok(()),
        }
    }

    /// The leaf that translates `address`; none if that is not in the range.
    #[must_use]
    #[inline]
    pub fn query(&self, address: VirtAddr) -> Option<Mapping<O>> {
        self.range.query(address)
    }

    /// All leaves of the range, in ascending order.
    #[must_use]
    pub fn leaves(&self) -> Leaves<'_, O, M> {
        self.range.leaves()
    }

    /// Takes all leaves of `range` out and keeps the tables.
    ///
    /// # Errors
    /// [`Error::CutsLeaf`], or what is wrong with the range.
    #[inline]
    pub fn unmap(&mut self, range: VirtRange) -> Result<(), Error> {
        if range.len_bytes == PAGE_LEN && self.unmap_page(range.start) {
            return Ok(());
        }
        self.unmap_range(range)
    }

    /// Out of line, for the short way to stay short.
    #[inline(never)]
    fn unmap_range(&mut self, range: VirtRange) -> Result<(), Error> {
        let span = self.part(range, PAGE_LEN)?;
        unmap::unmap::<O, M>(&self.machine, self.range.span(), span, Tables::Keep, &mut self.pending)
    }

    /// Takes the 4 KiB leaf at `at` out, if there is one. Says whether the page is in the range, and has a table.
    #[inline(always)]
    fn unmap_page(&mut self, at: VirtAddr) -> bool {
        let owned = self.range.span();
        if let Some(page) = owned.page_inside(at)
            && let Some(node) = self.near.last_table::<O, M>(&self.machine, page.start)
        {
            unmap::unmap_page(node, owned, page, &mut self.pending);
            return true;
        }
        false
    }

    /// Takes everything in `range` out, whole tables by one store each.
    ///
    /// # Errors
    /// [`Error::CutsLeaf`], or what is wrong with the range.
    #[inline(never)]
    pub fn detach(&mut self, range: VirtRange) -> Result<(), Error> {
        let span = self.part(range, PAGE_LEN)?;
        self.near = Near::NONE;
        unmap::unmap::<O, M>(&self.machine, self.range.span(), span, Tables::Take, &mut self.pending)
    }

    /// Takes everything in `range` out, whole tables of the last level by one store each, with what they hold. Tables of the
    /// levels above stay, for mappings to come.
    ///
    /// # Errors
    /// [`Error::CutsLeaf`], or what is wrong with the range.
    #[inline(never)]
    pub fn detach_leaf_tables(&mut self, range: VirtRange) -> Result<(), Error> {
        let span = self.part(range, PAGE_LEN)?;
        unmap::unmap::<O, M>(&self.machine, self.range.span(), span, Tables::TakeLast, &mut self.pending)
    }

    /// Takes the tables out that hold nothing, and translate no address outside of the range.
    #[inline(never)]
    pub fn trim(&mut self) {
        self.near = Near::NONE;
        trim::trim(&self.machine, self.range.span(), &mut self.pending);
    }

    /// Gives all leaves of `range` other attributes. What is not mapped stays so.
    ///
    /// # Errors
    /// [`Error::CutsLeaf`], or what is wrong with the range.
    #[inline(never)]
    pub fn protect(&mut self, range: VirtRange, attributes: O::Attributes) -> Result<(), Error> {
        let span = self.part(range, PAGE_LEN)?;
        protect::protect(&self.machine, span, attributes.to_bits(), &mut self.pending)
    }

    /// Makes 512 leaves of the one of size `S` at `at`.
    ///
    /// # Errors
    /// [`Error::NoLeaf`], [`Error::OutOfFrames`], or what is wrong with `at`.
    #[inline(never)]
    pub fn split<S: Compound>(&mut self, at: VirtAddr) -> Result<(), Error> {
        let block = self.part(VirtRange::new(at, S::LEN_BYTES), S::LEN_BYTES)?;
        resize::split::<O, S, M>(&self.machine, block, &mut self.pending)
    }

    /// Makes one leaf of size `S` of the 512 at `at`.
    ///
    /// # Errors
    /// [`Error::Incomplete`], [`Error::NotContiguous`], [`Error::Unequal`], [`Error::UnsupportedSize`], or what is wrong with
    /// `at`.
    #[inline(never)]
    pub fn promote<S: Compound>(&mut self, at: VirtAddr) -> Result<(), Error> {
        let block = self.part(VirtRange::new(at, S::LEN_BYTES), S::LEN_BYTES)?;
        self.near = Near::NONE;
        resize::promote::<O, S, M>(&self.machine, block, &mut self.pending)
    }

    /// Ends the work: the range, with all that awaits a flush.
    pub fn finish(self) -> Detached<O, M> {
        Detached::new(self.machine, self.range.span(), self.pending)
    }

    #[inline]
    fn part(&self, range: VirtRange, align_bytes: u64) -> Result<Span, Error> {
        let span = Span::check(range, align_bytes)?;
        if self.range.span().contains(span) {
            Ok(span)
        } else {
            Err(Error::OutsideRange { range, owned: self.range() })
        }
    }
}
