//! Shootdown, and the proof of it.
//!
//! A [`Detached`] holds what was taken out. Only [`flush`], by a [`Shootdown`], or [`Inactive`], the right over an address
//! space that no CPU has ever loaded, makes a [`Flushed`] of it; and only from a [`Flushed`] can anything be freed.

use super::level::LeafSize;
use super::pending::Pending;
use super::release::{self, Released};
use super::span::{Span, VirtRange, canonical};
use super::va_range::VaRange;
use super::{Machine, Ownership, Tracked};
use crate::memory::address::VirtAddr;
use crate::memory::address_space::Inactive;
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
pub struct Flushed<T>(T);

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
        let Detached { machine, owned, pending, .. } = self.0;
        if pending.flush_range().is_some() {
            if let Some(span) = pending.detached_entries() {
                // SAFETY: no CPU can reach what is detached in this range, for it was flushed, and the range is owned.
                unsafe { release::release::<O, M>(&machine, span, owned, &mut freed) };
            }
            // SAFETY: flushed.
            freed.tables += unsafe { pending.free_replaced(&machine) };
            machine.space().count_released();
        }
        // SAFETY: 1 and 2, it is the range that was consumed when this was taken out.
        (unsafe { VaRange::new(machine, owned) }, freed)
    }
}

impl<M: Machine> Flushed<Detached<Tracked, M>> {
    /// Takes the frame of the leaf of size `S` that was unmapped at `at`, if one was, and it was not part of a whole table.
    pub fn take_frame<S: LeafSize>(&mut self, at: VirtAddr) -> Option<crate::memory::frame::Frame<S, M>> {
        let span = Span::check(VirtRange::new(at, S::LEN_BYTES), S::LEN_BYTES).ok()?;
        let Detached { machine, owned, pending, .. } = &self.0;
        let is_detached = pending.detached_entries().is_some_and(|hull| hull.contains(span));
        // SAFETY: no CPU can reach what is detached in this range, for it was flushed, and the range is owned.
        if is_detached { unsafe { release::take_leaf::<Tracked, S, M>(machine, span, *owned) } } else { None }
    }
}
