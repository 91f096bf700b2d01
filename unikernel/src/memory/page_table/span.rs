//! Virtual ranges, checked once where they enter, and their arithmetic.
//!
//! A [`Span`] counts in the 48 bits that page tables translate, without the sign extension, so that the upper half ends at
//! 2^48 and nothing overflows.

use super::error::Error;
use crate::memory::PAGE_LEN;
use crate::memory::address::{VIRTUAL_ADDRESS_BITS, VirtAddr};
use core::fmt;

/// Bytes that one table translates, from the root on: 2^48.
const SPACE_LEN: u64 = 1 << VIRTUAL_ADDRESS_BITS;

/// A virtual range as a caller names it and as messages show it; not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtRange {
    /// First address.
    pub start: VirtAddr,
    /// Length in bytes.
    pub len_bytes: u64,
}

impl VirtRange {
    /// The range of `len_bytes` bytes from `start` on.
    #[must_use]
    pub const fn new(start: VirtAddr, len_bytes: u64) -> Self {
        Self { start, len_bytes }
    }

    /// Whether the address lies in it.
    #[must_use]
    pub const fn contains(self, address: VirtAddr) -> bool {
        address.as_u64().wrapping_sub(self.start.as_u64()) < self.len_bytes
    }
}

impl fmt::Display for VirtRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len_bytes.checked_sub(1) {
            Some(more) => {
                write!(formatter, "{}..={:#x}", self.start, self.start.as_u64().wrapping_add(more))
            }
            None => write!(formatter, "{} and no bytes", self.start),
        }
    }
}

/// A range of whole pages in one half of the address space; never empty, except where an intersection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First byte.
    pub(crate) start: u64,
    /// Behind the last byte.
    pub(crate) end: u64,
}

impl Span {
    /// Checks a caller's range, whose ends must be multiples of `align_bytes`.
    pub(crate) fn check(range: VirtRange, align_bytes: u64) -> Result<Self, Error> {
        let VirtRange { start, len_bytes } = range;
        let last = len_bytes.checked_sub(1).ok_or(Error::Empty { at: start })?;
        let last = start.as_u64().checked_add(last).ok_or(Error::Overflow { range })?;
        if !start.is_aligned(align_bytes) || len_bytes & (align_bytes - 1) != 0 {
            return Err(Error::Unaligned { range, align_bytes });
        }
        let same_half = start.as_u64() >> (VIRTUAL_ADDRESS_BITS - 1) == last >> (VIRTUAL_ADDRESS_BITS - 1);
        if !start.is_canonical() || !VirtAddr::new(last).is_canonical() || !same_half {
            return Err(Error::NotCanonical { range });
        }
        let start = start.as_u64() % SPACE_LEN;
        Ok(Self { start, end: start + len_bytes })
    }

    /// The address in 48 bits, if it lies in this span.
    #[inline]
    pub(crate) const fn address_inside(self, address: VirtAddr) -> Option<u64> {
        let offset = address.as_u64().wrapping_sub(canonical(self.start).as_u64());
        if offset < self.len_bytes() { Some(self.start + offset) } else { None }
    }

    /// The page at `at`, if it is one of this span: quicker than a check, for what is right almost always.
    #[inline]
    pub(crate) const fn page_inside(self, at: VirtAddr) -> Option<Self> {
        // Sign extension goes away in the difference, since a span lies in one half.
        let offset = at.as_u64().wrapping_sub(canonical(self.start).as_u64());
        if offset < self.len_bytes() && offset.is_multiple_of(PAGE_LEN) {
            let start = self.start + offset;
            return Some(Self { start, end: start + PAGE_LEN });
        }
        None
    }

    /// The range again, with sign-extended addresses.
    pub(crate) const fn range(self) -> VirtRange {
        VirtRange { start: canonical(self.start), len_bytes: self.len_bytes() }
    }

    pub(crate) const fn len_bytes(self) -> u64 {
        self.end - self.start
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.start >= self.end
    }

    pub(crate) const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// What both have in common; empty if nothing.
    pub(crate) fn intersection(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    /// The smallest span around both.
    pub(crate) fn hull(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// How many aligned blocks of `2^shift` bytes it touches.
    pub(crate) const fn blocks(self, shift: u32) -> u64 {
        ((self.end - 1) >> shift) - (self.start >> shift) + 1
    }

    /// The aligned block of `2^shift` bytes around `address`.
    pub(crate) const fn block(address: u64, shift: u32) -> Self {
        let start = address >> shift << shift;
        Self { start, end: start + (1 << shift) }
    }

    /// The page at `address`.
    pub(crate) const fn page(address: u64) -> Self {
        Self::block(address, PAGE_LEN.trailing_zeros())
    }
}

/// The virtual address with these 48 bits.
pub(crate) const fn canonical(address: u64) -> VirtAddr {
    let shift = u64::BITS - VIRTUAL_ADDRESS_BITS;
    VirtAddr::new(((address << shift).cast_signed() >> shift).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(start: u64, len_bytes: u64) -> Result<Span, Error> {
        Span::check(VirtRange::new(VirtAddr::new(start), len_bytes), PAGE_LEN)
    }

    #[test]
    fn both_halves_are_taken_up_to_their_last_page() {
        assert_eq!(check(0, 1 << 47), Ok(Span { start: 0, end: 1 << 47 }));
        let upper = check(0xffff_8000_0000_0000, 1 << 47).unwrap();
        assert_eq!(upper, Span { start: 1 << 47, end: 1 << 48 });
        assert_eq!(upper.range().start.as_u64(), 0xffff_8000_0000_0000);
        assert_eq!(check(u64::MAX - 4095, 4096).unwrap().end, 1 << 48);
    }

    #[test]
    fn each_malformed_range_has_an_error_of_its_own() {
        let start = VirtAddr::new;
        let range = |at, len| VirtRange::new(start(at), len);
        assert_eq!(check(0x1000, 0), Err(Error::Empty { at: start(0x1000) }));
        assert_eq!(
            check(0x1001, 4096),
            Err(Error::Unaligned { range: range(0x1001, 4096), align_bytes: 4096 })
        );
        assert_eq!(
            check(0x1000, 4095),
            Err(Error::Unaligned { range: range(0x1000, 4095), align_bytes: 4096 })
        );
        let top = u64::MAX - 4095;
        assert_eq!(check(top, 8192), Err(Error::Overflow { range: range(top, 8192) }));
        for (at, len) in [(0x8000_0000_0000, 4096), (0x7fff_ffff_f000, 8192), (0x1000, 1 << 63)] {
            assert_eq!(check(at, len), Err(Error::NotCanonical { range: range(at, len) }));
        }
        let across = (0x7fff_ffff_f000, 0xffff_0000_0000_2000);
        assert_eq!(
            check(across.0, across.1),
            Err(Error::NotCanonical { range: range(across.0, across.1) }),
            "from one half into the other"
        );
    }

    #[test]
    fn a_page_is_inside_just_where_a_check_would_find_it() {
        for span in [check(0xffff_ffff_ffff_c000, 0x4000).unwrap(), check(0x7fff_ffff_c000, 0x4000).unwrap()]
        {
            for step in 0..0x8000_u64 {
                let at = VirtAddr::new(span.range().start.as_u64().wrapping_sub(0x2000).wrapping_add(step));
                let checked = Span::check(VirtRange::new(at, PAGE_LEN), PAGE_LEN).ok();
                assert_eq!(span.page_inside(at), checked.filter(|page| span.contains(*page)), "{at}");
            }
            for at in [span.start ^ 1 << 60, span.start ^ 1 << 48] {
                assert_eq!(span.page_inside(VirtAddr::new(at)), None, "{at:#x}");
            }
        }
    }

    #[test]
    fn blocks_are_counted_where_the_span_touches_them() {
        let span = Span { start: 0x1ff000, end: 0x400000 };
        assert_eq!(span.blocks(21), 2);
        assert_eq!(Span { start: 0x1ff000, end: 0x401000 }.blocks(21), 3);
        assert_eq!(span.blocks(12), 0x201);
    }
}
