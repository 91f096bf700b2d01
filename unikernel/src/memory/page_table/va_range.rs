//! The owned right to change one range of one subtree.
//!
//! What only adds or reads works on a borrowed range. What takes something away takes the range, too, and gives it back
//! after the flush; so nobody can use addresses that another CPU may translate still.

use super::count::{self, LeafCounts};
use super::cursor::Cursor;
use super::error::{Error, Rejected};
use super::flush::Detached;
use super::level::{L1, LeafSize, Level};
use super::machine::Machine;
use super::map;
use super::ownership::{Backing, Ownership};
use super::query::{self, Leaves, Mapping};
use super::resize::Compound;
use super::span::{Span, VirtRange};
use crate::memory::PAGE_LEN;
use crate::memory::address::VirtAddr;
use crate::memory::frame::FrameBatch;
use crate::memory::page_size::Size4KiB;
use core::marker::PhantomData;

/// A range of whole pages in the subtree of kind `O`, and the right to change what is mapped there. Never cloned.
#[must_use = "the addresses are lost if the range is dropped: give it back to its subtree"]
pub struct VaRange<O: Ownership, M: Machine> {
    machine: M,
    span: Span,
    kind: PhantomData<O>,
}

/// A range in up to three pieces.
pub struct Carved<O: Ownership, M: Machine> {
    /// What lies below the middle.
    pub below: Option<VaRange<O, M>>,
    /// What was asked for.
    pub middle: VaRange<O, M>,
    /// What lies above the middle.
    pub above: Option<VaRange<O, M>>,
}

impl<O: Ownership, M: Machine> VaRange<O, M> {
    /// For the address allocator and for what gives a range back.
    ///
    /// # Safety
    /// 1. The span lies in slots of kind `O`.
    /// 2. No other range of this machine overlaps it, from now on.
    pub(crate) const unsafe fn new(machine: M, span: Span) -> Self {
        Self { machine, span, kind: PhantomData }
    }

    pub(crate) const fn span(&self) -> Span {
        self.span
    }

    pub(crate) const fn machine(&self) -> M {
        self.machine
    }

    /// Its addresses.
    #[must_use]
    pub const fn range(&self) -> VirtRange {
        self.span.range()
    }

    /// Maps all of `backing` from `at` on, by leaves of size `S`.
    ///
    /// # Errors
    /// The backing, with [`Error::AlreadyMapped`], [`Error::OutOfFrames`] for the tables, [`Error::UnsupportedSize`], or what
    /// is wrong with the range.
    #[inline]
    pub fn map<S: LeafSize, B: Backing<O, S, M>>(
        &mut self,
        at: VirtAddr,
        backing: B,
        attributes: O::Attributes,
    ) -> Result<(), Rejected<B>> {
        map::map::<O, S, M, B>(&self.machine, self.span, at, backing, attributes, None)
    }

    /// As [`VaRange::map`], with tables that the caller brings: the frames of those that are missing are taken out of `tables`,
    /// and none from the allocator. What is not needed stays in `tables`; so does all if the mapping is refused.
    ///
    /// At most one table of each level is missing for one leaf: 3 frames suffice for 4 KiB, 2 for 2 MiB, and 1 for 1 GiB.
    ///
    /// # Errors
    /// The backing, as for [`VaRange::map`]: with [`Error::OutOfFrames`] if `tables` holds too few frames, whose cause says how
    /// many are needed and how many there are; with [`Error::ForeignBacking`] also if tables are missing, and `tables` belongs
    /// to another machine.
    #[inline]
    pub fn map_with_tables<S: LeafSize, B: Backing<O, S, M>>(
        &mut self,
        at: VirtAddr,
        backing: B,
        attributes: O::Attributes,
        tables: &mut FrameBatch<Size4KiB, M>,
    ) -> Result<(), Rejected<B>> {
        map::map::<O, S, M, B>(&self.machine, self.span, at, backing, attributes, Some(tables))
    }

    /// Makes the tables down to level 2 that translate the range, which then are there for mappings to come, as long as they
    /// are not taken out.
    ///
    /// # Errors
    /// [`Error::OutOfFrames`], or [`Error::AlreadyMapped`] if a 1 GiB leaf is where a table would be.
    pub fn build_tables(&mut self) -> Result<(), Error> {
        map::build_tables::<O, M>(&self.machine, self.span)
    }

    /// Whether the table of level 1 that translates the first page exists.
    #[must_use]
    pub fn has_leaf_table(&self) -> bool {
        // SAFETY: the page lies in this range, of kind `O`.
        unsafe { L1::find::<O, M>(&self.machine, self.span.start) }.is_some()
    }

    /// The leaf that translates `address`; none if that is not in the range.
    #[must_use]
    #[inline(always)]
    pub fn query(&self, address: VirtAddr) -> Option<Mapping<O>> {
        let address = self.span.address_inside(address)?;
        query::leaf_at::<O, M>(&self.machine, address).map(|found| found.mapping())
    }

    /// All leaves of the range, in ascending order.
    #[must_use]
    pub fn leaves(&self) -> Leaves<'_, O, M> {
        Leaves::new(&self.machine, self.span)
    }

    /// How many leaves are mapped: the number of [`VaRange::leaves`] of each size. A large leaf through which the range was
    /// carved counts in each piece.
    ///
    /// A table of the last level that lies in the range whole costs one look, by its own count; else each entry costs one. The
    /// counts of tables count entries that await a flush too; none are in a range, since [`Detached`] holds the range until
    /// then. So the number is exact, and a [`Cursor`], which may have taken something out, has no such operation.
    #[must_use]
    pub fn count_leaves(&self) -> LeafCounts {
        count::count(&self.machine, self.span)
    }

    /// Takes all leaves out and keeps the tables, for mappings to come.
    ///
    /// # Errors
    /// The range, with [`Error::CutsLeaf`].
    #[inline(never)]
    pub fn unmap(self) -> Result<Detached<O, M>, Rejected<Self>> {
        self.with(|cursor, range| cursor.unmap(range))
    }

    /// Takes everything out, whole tables by one store each.
    ///
    /// # Errors
    /// The range, with [`Error::CutsLeaf`].
    #[inline(never)]
    pub fn detach(self) -> Result<Detached<O, M>, Rejected<Self>> {
        self.with(|cursor, range| cursor.detach(range))
    }

    /// Takes everything out, whole tables of the last level by one store each, with what they hold. Tables of the levels above
    /// stay, for mappings to come.
    ///
    /// # Errors
    /// The range, with [`Error::CutsLeaf`].
    #[inline(never)]
    pub fn detach_leaf_tables(self) -> Result<Detached<O, M>, Rejected<Self>> {
        self.with(|cursor, range| cursor.detach_leaf_tables(range))
    }

    /// Takes the tables out that hold nothing, and translate no address outside of the range.
    #[inline(never)]
    pub fn trim(self) -> Detached<O, M> {
        let mut cursor = self.cursor();
        cursor.trim();
        cursor.finish()
    }

    /// Gives all leaves other attributes.
    ///
    /// # Errors
    /// The range, with [`Error::CutsLeaf`].
    #[inline(never)]
    pub fn protect(self, attributes: O::Attributes) -> Result<Detached<O, M>, Rejected<Self>> {
        self.with(|cursor, range| cursor.protect(range, attributes))
    }

    /// Makes 512 leaves of the one of size `S` at `at`.
    ///
    /// # Errors
    /// The range, with [`Error::NoLeaf`], [`Error::OutOfFrames`], or what is wrong with `at`.
    #[inline(never)]
    pub fn split<S: Compound>(self, at: VirtAddr) -> Result<Detached<O, M>, Rejected<Self>> {
        self.with(|cursor, _| cursor.split::<S>(at))
    }

    /// Makes one leaf of size `S` of the 512 at `at`.
    ///
    /// # Errors
    /// The range, with [`Error::Incomplete`], [`Error::NotContiguous`], [`Error::Unequal`], [`Error::UnsupportedSize`], or
    /// what is wrong with `at`.
    #[inline(never)]
    pub fn promote<S: Compound>(self, at: VirtAddr) -> Result<Detached<O, M>, Rejected<Self>> {
        self.with(|cursor, _| cursor.promote::<S>(at))
    }

    /// For several changes under one flush.
    pub fn cursor(self) -> Cursor<O, M> {
        Cursor::new(self)
    }

    /// One change. If it is refused, nothing was changed, and the range comes back.
    fn with(
        self,
        change: impl FnOnce(&mut Cursor<O, M>, VirtRange) -> Result<(), Error>,
    ) -> Result<Detached<O, M>, Rejected<Self>> {
        let (machine, span) = (self.machine, self.span);
        let mut cursor = self.cursor();
        match change(&mut cursor, span.range()) {
            Ok(()) => Ok(cursor.finish()),
            // SAFETY: 1 and 2, it is the cursor's range, which is not used again.
            Err(error) => Err(Rejected::new(error, unsafe { Self::new(machine, span) })),
        }
    }

    /// Takes `middle` out of the range.
    ///
    /// # Errors
    /// The range, with what is wrong with `middle`.
    pub fn carve(self, middle: VirtRange) -> Result<Carved<O, M>, Rejected<Self>> {
        let span = match Span::check(middle, PAGE_LEN) {
            Ok(span) if self.span.contains(span) => span,
            Ok(_) => {
                let error = Error::OutsideRange { range: middle, owned: self.range() };
                return Err(Rejected::new(error, self));
            }
            Err(error) => return Err(Rejected::new(error, self)),
        };
        // SAFETY: 1 and 2, the pieces do not overlap, and the whole is consumed.
        let piece =
            |start, end| (start < end).then(|| unsafe { Self::new(self.machine, Span { start, end }) });
        Ok(Carved {
            below: piece(self.span.start, span.start),
            // SAFETY: as for the others.
            middle: unsafe { Self::new(self.machine, span) },
            above: piece(span.end, self.span.end),
        })
    }

    /// Joins two neighbours, in any order.
    ///
    /// # Errors
    /// Both, with [`Error::NotAdjacent`], also if they belong to two machines.
    pub fn join(self, other: Self) -> Result<Self, Rejected<(Self, Self)>> {
        let same = core::ptr::eq(self.machine.space(), other.machine.space());
        let [first, second] = [self.span, other.span];
        if same && (first.end == second.start || second.end == first.start) {
            // SAFETY: 1 and 2, both are consumed, and they are neighbours.
            return Ok(unsafe { Self::new(self.machine, first.hull(second)) });
        }
        let error = Error::NotAdjacent { first: first.range(), second: second.range() };
        Err(Rejected::new(error, (self, other)))
    }
}

impl<O: Ownership, M: Machine> core::fmt::Debug for VaRange<O, M> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "VaRange<{}>({})", O::KIND, self.range())
    }
}
