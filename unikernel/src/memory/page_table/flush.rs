//! Shootdown, and the proof of it.
//!
//! A [`Detached`] holds what was taken out. Only [`flush`], by a [`Shootdown`], or [`Inactive`], the right over an address
//! space that no CPU has ever loaded, makes a [`Flushed`] of it; and only from a [`Flushed`] can anything be freed.

use super::error::{Error, Rejected};
use super::level::LeafSize;
use super::pending::Pending;
use super::release::{self, Released};
use super::relocate;
use super::span::{Span, VirtRange, canonical};
use super::va_range::VaRange;
use super::{Machine, Ownership, Tracked};
use crate::memory::address::VirtAddr;
use crate::memory::address_space::Inactive;
use crate::memory::frame::{Frame, FrameBatch};
use crate::memory::page_size::Size4KiB;
use core::fmt;
use core::marker::PhantomData;

/// What an operation on a range took out or lessened, with the range, until every CPU has flushed.
///
/// It has no `Drop`: one that is forgotten leaks what it holds, and the range, and can do no more. The audit counts those,
/// and cursors that were dropped with something taken out.
#[must_use = "what was unmapped stays allocated until it is flushed and released"]
pub struct Detached<O: Ownership, M: Machine> {
    machine: M,
    owned: Span,
    pending: Pending<M>,
    kind: PhantomData<O>,
}

/// Proof that no CPU holds a translation that `T` tells of. Made by a shootdown, and by nothing else.
#[must_use = "release it, to free what was unmapped and to have the range back"]
#[derive(Debug)]
pub struct Flushed<T>(T);

/// The two ranges of a move.
#[must_use = "the addresses are lost if the ranges are dropped"]
pub struct Moved<M: Machine> {
    /// What it was taken out of.
    pub source: VaRange<Tracked, M>,
    /// Where it is.
    pub target: VaRange<Tracked, M>,
}

/// What a refused move was given: what was taken out of the source, and the target.
pub type RejectedMove<M> = Rejected<(Flushed<Detached<Tracked, M>>, VaRange<Tracked, M>)>;

/// Makes every CPU of machines of type `M` forget translations.
///
/// # Safety
/// 1. When `invalidate` returns, no CPU that could use the address space of any `M` holds a TLB entry for an address of the
///    request that it loaded before the call.
/// 2. Nor an entry of a paging-structure cache for such an address (Intel SDM volume 3, 4.10.4; AMD APM volume 2, 5.5).
/// 3. All accesses that any CPU made by such an entry happen before the return.
pub unsafe trait Shootdown<M: Machine> {
    /// Makes all CPUs forget.
    fn invalidate(&self, request: &FlushRequest);
}

/// How many separate ranges a request can name.
const RANGES_MAX: usize = 8;

/// Which translations are to be forgotten.
#[derive(Debug)]
pub struct FlushRequest {
    ranges: [Option<(Span, u64)>; RANGES_MAX],
    all: bool,
}

impl FlushRequest {
    const fn new() -> Self {
        Self { ranges: [None; RANGES_MAX], all: false }
    }

    fn add(&mut self, range: Span, stride_bytes: u64) {
        match self.ranges.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some((range, stride_bytes)),
            None => self.all = true,
        }
    }

    /// Whether there is nothing to be forgotten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges[0].is_none() && !self.all
    }

    /// One address in each page to be forgotten, if there are at most `max`; else all translations have to be, by loading
    /// CR3.
    #[must_use]
    pub fn pages(&self, max: u64) -> Option<impl Iterator<Item = VirtAddr> + '_> {
        let ranges = || self.ranges.iter().flatten();
        let pages: u64 = ranges().map(|(range, stride)| range.len_bytes().div_ceil(*stride)).sum();
        let addresses =
            ranges().flat_map(|(range, stride)| (range.start..range.end).step_by(*stride as usize));
        (!self.all && pages <= max).then(|| addresses.map(canonical))
    }

    /// The ranges to be forgotten; `None` if there are too many to name them.
    #[must_use]
    pub fn ranges(&self) -> Option<impl Iterator<Item = VirtRange> + '_> {
        (!self.all).then(|| self.ranges.iter().flatten().map(|(range, _)| range.range()))
    }
}

mod sealed {
    pub trait Sealed {}
}

/// Something that awaits a flush: a [`Detached`], or a pair of such.
pub trait Obligation: sealed::Sealed + Sized {
    /// The machine whose CPUs have to flush.
    type Machine: Machine;

    /// Says what must be flushed.
    fn ask(&self, request: &mut FlushRequest);

    /// Whether all of it belongs to the address space that the right is over.
    fn is_under(&self, right: &Inactive) -> bool;
}

impl<O: Ownership, M: Machine> sealed::Sealed for Detached<O, M> {}
impl<A: Obligation, B: Obligation<Machine = A::Machine>> sealed::Sealed for (A, B) {}

impl<O: Ownership, M: Machine> Obligation for Detached<O, M> {
    type Machine = M;

    fn ask(&self, request: &mut FlushRequest) {
        if let Some((range, stride_bytes)) = self.pending.flush_range() {
            request.add(range, stride_bytes);
        }
    }

    fn is_under(&self, right: &Inactive) -> bool {
        self.machine.space().id() == right.id()
    }
}

impl<A: Obligation, B: Obligation<Machine = A::Machine>> Obligation for (A, B) {
    type Machine = A::Machine;

    fn ask(&self, request: &mut FlushRequest) {
        self.0.ask(request);
        self.1.ask(request);
    }

    fn is_under(&self, right: &Inactive) -> bool {
        self.0.is_under(right) && self.1.is_under(right)
    }
}

/// Makes every CPU forget what `obligation` tells of, by one shootdown.
pub fn flush<T: Obligation>(obligation: T, by: &impl Shootdown<T::Machine>) -> Flushed<T> {
    let mut request = FlushRequest::new();
    obligation.ask(&mut request);
    if !request.is_empty() {
        by.invalidate(&request);
    }
    Flushed(obligation)
}

impl Inactive {
    /// There is nothing to flush in an address space that no CPU has loaded.
    ///
    /// # Errors
    /// The obligation, if it belongs to another address space.
    pub fn flush<T: Obligation>(&self, obligation: T) -> Result<Flushed<T>, T> {
        if obligation.is_under(self) { Ok(Flushed(obligation)) } else { Err(obligation) }
    }
}

impl<O: Ownership, M: Machine> Detached<O, M> {
    pub(crate) fn new(machine: M, owned: Span, pending: Pending<M>) -> Self {
        Self { machine, owned, pending, kind: PhantomData }
    }

    /// The range that comes back at [`Flushed::release`].
    #[must_use]
    pub fn range(&self) -> VirtRange {
        self.owned.range()
    }

    /// What must be flushed: none if nothing was there.
    #[must_use]
    pub fn flush_range(&self) -> Option<VirtRange> {
        self.pending.flush_range().map(|(range, _)| range.range())
    }
}

impl<O: Ownership, M: Machine> fmt::Debug for Detached<O, M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Detached<{}>({})", O::KIND, self.range())
    }
}

impl<A, B> Flushed<(A, B)> {
    /// The two, to be released each.
    pub fn split(self) -> (Flushed<A>, Flushed<B>) {
        (Flushed(self.0.0), Flushed(self.0.1))
    }
}

impl<O: Ownership, M: Machine> Flushed<Detached<O, M>> {
    /// Frees what was taken out, by the types of what it was: heap leaves with their frames, tables of any kind, and nothing
    /// of what the leaves of the other kinds show. Gives the range back, to be used again.
    pub fn release(self) -> VaRange<O, M> {
        self.release_counted().0
    }

    /// As [`Flushed::release`], and says how much was freed.
    #[inline(never)]
    pub fn release_counted(self) -> (VaRange<O, M>, Released) {
        let mut freed = Released::default();
        let Detached { machine, owned, ref pending, .. } = self.0;
        if let Some(span) = pending.detached_entries() {
            // SAFETY: no CPU can reach what is detached in this range, for it was flushed, and the range is owned.
            unsafe { release::release::<O, M>(&machine, span, owned, &mut freed) };
        }
        (self.settle(&mut freed), freed)
    }

    /// The range, in which nothing is detached any more.
    fn settle(self, freed: &mut Released) -> VaRange<O, M> {
        let Detached { machine, owned, pending, .. } = self.0;
        if !pending.is_empty() {
            // SAFETY: flushed.
            freed.tables += unsafe { pending.free_replaced(&machine) };
            machine.space().count_released();
        }
        // SAFETY: 1 and 2, it is the range that was consumed when this was taken out.
        unsafe { VaRange::new(machine, owned) }
    }
}

impl<M: Machine> Flushed<Detached<Tracked, M>> {
    /// Takes the frame of the leaf of size `S` that was unmapped at `at`, if one was, and it was not part of a whole table.
    pub fn take_frame<S: LeafSize>(&mut self, at: VirtAddr) -> Option<Frame<S, M>> {
        let span = Span::check(VirtRange::new(at, S::LEN_BYTES), S::LEN_BYTES).ok()?;
        let Detached { machine, owned, pending, .. } = &self.0;
        let is_detached = pending.detached_entries().is_some_and(|hull| hull.contains(span));
        // SAFETY: no CPU can reach what is detached in this range, for it was flushed, and the range is owned.
        if is_detached { unsafe { release::take_leaf::<Tracked, S, M>(machine, span, *owned) } } else { None }
    }

    /// Puts what was taken out into `target`, at the same offset from the start: mappings move, and no byte of what they map.
    /// Gives back the range that it was taken out of, in which nothing of it is left, and the target. Nothing is freed but
    /// tables that promotions replaced.
    ///
    /// What moves are leaves of 2 MiB, with their attributes, and whole tables of the last level, each by one store to either
    /// range: what [`VaRange::detach_leaf_tables`] takes out of whole blocks of 2 MiB. A table moves with all that it holds.
    /// The target may be used at once: no CPU keeps anything of addresses that led nowhere.
    ///
    /// Tables of the target above those are taken out of `tables`, where they are missing, and never from the allocator: at most
    /// one for each GiB and each 512 GiB that the target touches. What is not needed stays in `tables`.
    ///
    /// # Errors
    /// Both as they were, with nothing changed:
    /// - [`Error::ForeignBacking`] if the two belong to two machines, or tables are missing and `tables` belongs to another;
    /// - [`Error::Unaligned`] if one of them does not start and end at a multiple of 2 MiB;
    /// - [`Error::OtherLength`];
    /// - [`Error::NotMovable`] if a 4 KiB leaf was taken out by itself, even one whose table went after it, or a leaf or table
    ///   above 2 MiB;
    /// - [`Error::AlreadyMapped`] or [`Error::TableKept`] if something is in the way in the target;
    /// - [`Error::OutOfFrames`] if `tables` holds too few frames.
    #[expect(clippy::result_large_err, reason = "what is refused comes back, as everywhere, and both of it")]
    pub fn move_to(
        self,
        target: VaRange<Tracked, M>,
        tables: &mut FrameBatch<Size4KiB, M>,
    ) -> Result<Moved<M>, RejectedMove<M>> {
        let Detached { machine, owned, ref pending, .. } = self.0;
        if !core::ptr::eq(machine.space(), target.machine().space()) {
            let error = Error::ForeignBacking { range: target.range() };
            return Err(Rejected::new(error, (self, target)));
        }
        match relocate::survey(&machine, pending, owned, target.span(), Some(tables)) {
            Ok(mut reserve) => {
                // SAFETY: 1, it was flushed, and both ranges are owned. 2, just above.
                unsafe { relocate::relocate(&machine, pending, owned, target.span(), &mut reserve) };
            }
            Err(error) => return Err(Rejected::new(error, (self, target))),
        }
        Ok(Moved { source: self.settle(&mut Released::default()), target })
    }
}
