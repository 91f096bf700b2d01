//! How the heap stands, and what it could not do.

use core::alloc::Layout;
use core::fmt;

/// How much of the heap is used. The two add up to all of its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes of blocks that are allocated, as they are rounded, and of the notes on ranges. What is only kept at hand, free
    /// blocks and empty spans, is not used: when all was freed, this is what it was at first.
    pub used_bytes: u64,
    /// All others, in however many pieces.
    pub free_bytes: u64,
}

/// The latest allocation that could not be satisfied, with how the heap stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedAllocation {
    /// What was asked for.
    pub layout: Layout,
    /// The heap at that moment.
    pub statistics: Statistics,
    /// The length of the largest range that could have been had.
    pub largest_free_bytes: u64,
}

impl fmt::Display for FailedAllocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Statistics { used_bytes, free_bytes } = self.statistics;
        let (size, align) = (self.layout.size(), self.layout.align());
        write!(
            formatter,
            "no room for {size} bytes aligned to {align}: the heap has {used_bytes} bytes in use and "
        )?;
        write!(
            formatter,
            "{free_bytes} free in pieces, of which {} could be had in one",
            self.largest_free_bytes
        )
    }
}
