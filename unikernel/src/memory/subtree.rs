//! The subtree of one kind: its root slots, and which of their addresses are free.
//!
//! This is the allocator of addresses. It gives out [`VaRange`]s and takes them back; what is mapped there is none of its
//! business, but that nothing may be when a range comes back. Tables may stay: [`Subtree::trim`] takes those.
//!
//! The free ranges are behind a spin lock, so a handler that may interrupt its own CPU here must have its ranges already:
//! what works on a range takes no lock.

use super::address::VirtAddr;
use super::address_space::{NULL_GUARD_BYTES, Placed, SLOT_MAP};
use super::page_table::level::{L4, Level};
use super::page_table::span::{Span, canonical};
use super::page_table::view::View;
use super::page_table::{Error, Machine, Ownership, Rejected, Shootdown, VaRange, VirtRange, flush};
use super::range_set::RangeSet;
use super::{AddressRange, PAGE_LEN};
use core::marker::PhantomData;
use spin::Mutex;

/// In how many pieces the free addresses of a kind may be.
#[cfg(not(loom))]
pub const FREE_RANGES_MAX: usize = 256;
/// The model checker's stacks are small.
#[cfg(loom)]
pub const FREE_RANGES_MAX: usize = 4;

/// The addresses of one kind.
pub struct Subtree<O> {
    /// By 48-bit addresses. The lock is held for a search in a small array, and by no code of a caller.
    free: Mutex<RangeSet<FREE_RANGES_MAX>>,
    kind: PhantomData<fn() -> O>,
}

impl<O: Ownership> Subtree<O> {
    pub(crate) fn new() -> Self {
        let mut free = RangeSet::new();
        for slots in SLOT_MAP.iter().filter(|slots| slots.kind == O::KIND) {
            let start = ((slots.first as u64) << L4::SHIFT).max(NULL_GUARD_BYTES);
            // A kind has a few ranges of slots, and the set is empty.
            let Ok(()) = free.insert(&(start..(slots.end as u64) << L4::SHIFT)) else { break };
        }
        Self { free: Mutex::new(free), kind: PhantomData }
    }

    /// Bytes of addresses that are free.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.free.lock().len_bytes()
    }
}

impl<O: Placed> Subtree<O> {
    /// Takes the lowest free range of `len_bytes` bytes whose start is a multiple of `align_bytes`.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Unaligned`] (both must be whole pages, the alignment a power of two), [`Error::NoRange`],
    /// [`Error::TooManyRanges`].
    pub fn reserve<M: Machine>(machine: M, len_bytes: u64, align_bytes: u64) -> Result<VaRange<O, M>, Error> {
        let zero = VirtAddr::new(0);
        if len_bytes == 0 {
            return Err(Error::Empty { at: zero });
        }
        if !len_bytes.is_multiple_of(PAGE_LEN) || !align_bytes.is_power_of_two() || align_bytes < PAGE_LEN {
            return Err(Error::Unaligned { range: VirtRange::new(zero, len_bytes), align_bytes });
        }
        Self::take(machine, |free| {
            let fits = |range: &AddressRange| {
                let start = range.start.checked_next_multiple_of(align_bytes)?;
                let end = start.checked_add(len_bytes)?;
                (end <= range.end).then_some(Span { start, end })
            };
            let found = free.ranges().iter().find_map(fits);
            found.ok_or(Error::NoRange { len_bytes, align_bytes, kind: O::KIND })
        })
    }

    /// Takes just this range.
    ///
    /// # Errors
    /// [`Error::NotFree`], [`Error::TooManyRanges`], or what is wrong with the range.
    pub fn reserve_at<M: Machine>(machine: M, range: VirtRange) -> Result<VaRange<O, M>, Error> {
        let span = Span::check(range, PAGE_LEN)?;
        Self::take(machine, |free| {
            let is_free = free.ranges().iter().any(|free| free.start <= span.start && span.end <= free.end);
            if is_free { Ok(span) } else { Err(Error::NotFree { range, kind: O::KIND }) }
        })
    }

    /// Takes the longest free range: for who takes all of a subtree down.
    ///
    /// # Errors
    /// [`Error::NoRange`] if none is free.
    pub fn reserve_longest<M: Machine>(machine: M) -> Result<VaRange<O, M>, Error> {
        Self::take(machine, |free| {
            let longest = free.ranges().iter().max_by_key(|range| range.end - range.start);
            let longest = longest.map(|range| Span { start: range.start, end: range.end });
            longest.ok_or(Error::NoRange { len_bytes: PAGE_LEN, align_bytes: PAGE_LEN, kind: O::KIND })
        })
    }

    /// Frees the tables that hold nothing and translate only free addresses, by one flush for each free range.
    ///
    /// # Errors
    /// The range that could not be put back, with [`Error::TooManyRanges`], if others took ranges meanwhile.
    pub fn trim<M: Machine>(machine: M, by: &impl Shootdown<M>) -> Result<(), Rejected<VaRange<O, M>>> {
        let mut from = 0;
        loop {
            let next = Self::take(machine, |free| {
                let next = free.ranges().iter().find(|range| range.start >= from);
                let next = next.map(|range| Span { start: range.start, end: range.end });
                next.ok_or(Error::NoRange { len_bytes: PAGE_LEN, align_bytes: PAGE_LEN, kind: O::KIND })
            });
            let Ok(range) = next else { return Ok(()) };
            let span = range.span();
            from = span.end;
            // Nobody ever owns the guard, so who has the addresses behind it has the tables of both.
            let start = if span.start == NULL_GUARD_BYTES { 0 } else { span.start };
            // SAFETY: 1, the guard belongs to the same slot. 2, the range is not used beside it.
            let guarded = unsafe { VaRange::<O, M>::new(range.machine(), Span { start, end: span.end }) };
            let trimmed = flush(guarded.trim(), by).release();
            // SAFETY: 1 and 2, it is the range that was taken above, and the wider one is gone.
            Self::give_back(unsafe { VaRange::new(trimmed.machine(), span) })?;
        }
    }

    fn take<M: Machine>(
        machine: M,
        choose: impl FnOnce(&RangeSet<FREE_RANGES_MAX>) -> Result<Span, Error>,
    ) -> Result<VaRange<O, M>, Error> {
        let mut free = O::subtree_of(machine.space()).free.lock();
        let span = choose(&free)?;
        let too_many = |_| Error::TooManyRanges { range: span.range(), capacity: FREE_RANGES_MAX };
        free.remove(&(span.start..span.end)).map_err(too_many)?;
        drop(free);
        // SAFETY: 1, free addresses are of this kind. 2, it is taken out of them.
        Ok(unsafe { VaRange::new(machine, span) })
    }

    /// Takes a range back.
    ///
    /// # Errors
    /// The range, with [`Error::StillMapped`], or [`Error::TooManyRanges`].
    pub fn give_back<M: Machine>(range: VaRange<O, M>) -> Result<(), Rejected<VaRange<O, M>>> {
        let machine = range.machine();
        let span = range.span();
        if let Some(used) = View::root(&machine).first_used(span) {
            let error = Error::StillMapped { range: span.range(), at: canonical(used) };
            return Err(Rejected::new(error, range));
        }
        match O::subtree_of(machine.space()).free.lock().insert(&(span.start..span.end)) {
            Ok(()) => Ok(()),
            Err(full) => {
                let error = Error::TooManyRanges { range: span.range(), capacity: full.capacity };
                Err(Rejected::new(error, range))
            }
        }
    }
}
