//! Checked ranges, in the 48 bits that tables translate.

use core::fmt;
use unikernel::memory::address::VirtAddr;
use unikernel::memory::page_table::{Error, VirtRange};

/// From the first byte to behind the last.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// The address with these 48 bits.
pub(crate) fn address(bits: u64) -> VirtAddr {
    VirtAddr::new(if bits < 1 << 47 { bits } else { bits | 0xffff << 48 })
}

impl Block {
    pub(crate) const fn new(start: u64, len_bytes: u64) -> Self {
        Self { start, end: start + len_bytes }
    }

    /// A range that a kind gave out.
    pub(crate) fn of(range: VirtRange) -> Self {
        Self::new(range.start.as_u64() % (1 << 48), range.len_bytes)
    }

    /// What an operation makes of a range, whose ends must be multiples of `align_bytes`.
    pub(crate) fn check(range: VirtRange, align_bytes: u64) -> Result<Self, Error> {
        let start = u128::from(range.start.as_u64());
        let end = start + u128::from(range.len_bytes);
        if range.len_bytes == 0 {
            return Err(Error::Empty { at: range.start });
        }
        if end > 1 << 64 {
            return Err(Error::Overflow { range });
        }
        if !range.start.is_aligned(align_bytes) || !range.len_bytes.is_multiple_of(align_bytes) {
            return Err(Error::Unaligned { range, align_bytes });
        }
        let lower = end <= 1 << 47;
        let upper = start >= (1 << 64) - (1 << 47);
        if lower || upper { Ok(Self::of(range)) } else { Err(Error::NotCanonical { range }) }
    }

    /// What an operation makes of a part of the owned range.
    pub(crate) fn part_of(self, range: VirtRange, align_bytes: u64) -> Result<Self, Error> {
        let block = Self::check(range, align_bytes)?;
        if self.contains(block) { Ok(block) } else { Err(Error::OutsideRange { range, owned: self.range() }) }
    }

    pub(crate) fn range(self) -> VirtRange {
        VirtRange::new(address(self.start), self.end - self.start)
    }

    pub(crate) const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    pub(crate) const fn touches(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    pub(crate) fn intersection(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    pub(crate) fn hull(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The starts of all aligned blocks of this length that it touches.
    pub(crate) fn blocks(self, len_bytes: u64) -> impl Iterator<Item = u64> {
        (self.start / len_bytes * len_bytes..self.end).step_by(len_bytes as usize)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}..{:#x}", self.start, self.end)
    }
}
