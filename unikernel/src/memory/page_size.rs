//! The three sizes of frames, pages and leaves, as types.

use super::PAGE_LEN;

mod sealed {
    pub trait Sealed {}
}

/// A size that the processor can map with one entry. There are three, and no others.
pub trait PageSize: sealed::Sealed + Copy + Eq + core::fmt::Debug + 'static {
    /// Bytes.
    const LEN_BYTES: u64;
    /// How many 4 KiB frames that is.
    const FRAMES: u64 = Self::LEN_BYTES / PAGE_LEN;
    /// What messages call it.
    const NAME: &'static str;
}

/// A size that consists of 512 of the next smaller one.
pub trait Divisible: PageSize {
    /// The next smaller size.
    type Part: PageSize;
}

/// Number of parts in a [`Divisible`] size, and of entries in a page table.
pub const PARTS: u64 = 512;

/// 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size4KiB {}

/// 2 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size2MiB {}

/// 1 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size1GiB {}

impl sealed::Sealed for Size4KiB {}
impl sealed::Sealed for Size2MiB {}
impl sealed::Sealed for Size1GiB {}

impl PageSize for Size4KiB {
    const LEN_BYTES: u64 = PAGE_LEN;
    const NAME: &'static str = "4 KiB";
}

impl PageSize for Size2MiB {
    const LEN_BYTES: u64 = PARTS * Size4KiB::LEN_BYTES;
    const NAME: &'static str = "2 MiB";
}

impl PageSize for Size1GiB {
    const LEN_BYTES: u64 = PARTS * Size2MiB::LEN_BYTES;
    const NAME: &'static str = "1 GiB";
}

impl Divisible for Size2MiB {
    type Part = Size4KiB;
}

impl Divisible for Size1GiB {
    type Part = Size2MiB;
}
