//! How memory stands.

use crate::cpu::interrupts;
use crate::memory::PAGE_LEN;
use crate::memory::heap::RangeSource;
use crate::memory::heap::demand::Faults;
use crate::memory::live::heap::{HEAP, pager};
use crate::memory::page_table::LeafCounts;
use core::fmt;

/// The heap in numbers. Exact while nobody else is at work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes of blocks that are allocated, as they are rounded up.
    pub allocated_bytes: u64,
    /// Bytes of ranges that are handed out: blocks, what is free between them, what is kept for later, and notes.
    pub handed_out_bytes: u64,
    /// Leaves that map the region.
    pub mapped: LeafCounts,
    /// Bytes of frames that are promised to pages that nobody has touched, and to their tables.
    pub credit_bytes: u64,
    /// Bytes that could be handed out, in however many pieces. What is free between blocks comes on top, and so does what is
    /// kept at hand for blocks: megabytes after work with many lengths, until [`trim`](super::trim) or an allocation that finds
    /// no room.
    pub free_bytes: u64,
    /// Length in bytes of the largest block that could be.
    pub largest_free_bytes: u64,
    /// Pages that have come so far.
    pub faults: Faults,
}

/// How memory stands. Not for a timer's function: one that has interrupted the heap panics.
///
/// ```no_run
/// let statistics = unikernel::heap::statistics();
/// unikernel::println!("{statistics}");
/// assert!(statistics.free_bytes >= statistics.largest_free_bytes);
/// ```
#[must_use]
pub fn statistics() -> Statistics {
    let blocks = HEAP.statistics();
    let Some(pager) = pager() else { return Statistics::default() };
    // No timer's function faults between the numbers.
    interrupts::without(|| Statistics {
        allocated_bytes: blocks.used_bytes,
        handed_out_bytes: pager.handed_out_bytes(),
        mapped: pager.mapped(),
        credit_bytes: pager.credit_frames() * PAGE_LEN,
        free_bytes: HEAP.with_source(|source| source.free_bytes()),
        largest_free_bytes: HEAP.with_source(|source| source.largest_free_bytes()),
        faults: pager.faults(),
    })
}

/// How the pages stand, looked up without a lock: for the message of a machine that ends.
pub(crate) struct PagesInUse;

impl fmt::Display for PagesInUse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(pager) = pager() else { return Ok(()) };
        let (LeafCounts { small, large, .. }, faults) = (pager.mapped(), pager.faults());
        writeln!(
            formatter,
            "  {} KiB are handed out, {small} x 4 KiB and {large} x 2 MiB of it mapped, with credit for {} KiB more",
            pager.handed_out_bytes() >> 10,
            (pager.credit_frames() * PAGE_LEN) >> 10,
        )?;
        writeln!(
            formatter,
            "  {} faults by small pages, {} by large ones, {} times no large one was free",
            faults.small, faults.large, faults.large_missed
        )
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |bytes: u64| bytes >> 10;
        writeln!(
            formatter,
            "heap: {} KiB allocated, {} KiB handed out, {} KiB of credit; {} KiB free, {} KiB in one block",
            kib(self.allocated_bytes),
            kib(self.handed_out_bytes),
            kib(self.credit_bytes),
            kib(self.free_bytes),
            kib(self.largest_free_bytes),
        )?;
        let (LeafCounts { small, large, .. }, faults) = (self.mapped, self.faults);
        write!(
            formatter,
            "mapped: {small} x 4 KiB, {large} x 2 MiB; faults: {} of 4 KiB, {} of 2 MiB, {} times no 2 MiB were free",
            faults.small, faults.large, faults.large_missed
        )
    }
}
