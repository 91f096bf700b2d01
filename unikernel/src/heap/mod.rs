//! What an application can ask of its memory, beyond allocating.
//!
//! `Vec`, `Box` and all else of `alloc` come from the global allocator, which takes whole ranges of addresses with *credit*:
//! a frame is promised for each page that could be touched. So an allocation that can't be honoured fails at once, and a
//! page that is touched later can't. Pages come at their first access, cleared, and go back when nothing uses their range.
//!
//! | for | there is |
//! |---|---|
//! | seeing how memory stands | [`statistics`], [`audit`] |
//! | memory that is there before it is touched | [`prefault`] |
//! | a large buffer whose parts can go back | [`Pages`] |
//! | pages of a chosen size | [`LeafPages`] |
//! | giving up what the heap keeps at hand | [`trim`] |
//! | doing something about a failing allocation | [`set_out_of_memory_handler`] |
//!
//! A stack, or memory that a device reads, must not lie in pages that nobody has touched: [`prefault`] it, or use
//! [`LeafPages`].
//!
//! An allocation that fails returns an error to those who ask for one (`Vec::try_reserve`, [`Pages::reserve`]); for the
//! others the machine ends with the status of running out of memory, after a message that says what was asked for and how the
//! heap stood.

mod global;
mod leaf_pages;
mod out_of_memory;
mod pages;
mod statistics;

pub use leaf_pages::LeafPages;
pub use out_of_memory::{AfterFailure, OutOfMemoryHandler, set_out_of_memory_handler};
pub use pages::{Pages, PagesError};
#[cfg(target_os = "none")]
pub(crate) use statistics::PagesInUse;
pub use statistics::{Statistics, statistics};

use crate::cpu::interrupts;
use crate::memory::address::VirtAddr;
use crate::memory::audit::AuditReport;
use crate::memory::heap::demand::NotPaged;
use crate::memory::live::heap::{HEAP, pager};
use crate::memory::live::{self, LocalFlush};
use crate::memory::page_table::Tracked;
use crate::memory::subtree::Subtree;

/// Maps all pages of some memory of the heap now, so that touching them later does not fault. Says how many bytes are mapped
/// by the pages that it lies in; 0 for memory that is none of the heap's.
///
/// ```no_run
/// let mut ring = Vec::<u64>::with_capacity(1 << 20);
/// // Pages come now, and not while packets wait.
/// unikernel::heap::prefault(ring.spare_capacity_mut());
/// ```
pub fn prefault<T>(memory: &[T]) -> u64 {
    let start = memory.as_ptr().addr() as u64;
    page_in(start, size_of_val(memory) as u64).0
}

/// Maps the pages of a range of addresses, as far as they are handed out: says how many bytes they have, and what was in the
/// way of the next.
fn page_in(start: u64, len_bytes: u64) -> (u64, Option<NotPaged>) {
    let Some(pager) = pager() else { return (0, Some(NotPaged::Outside)) };
    let (mut at, end) = (start, start + len_bytes);
    let mut mapped = 0;
    while at < end {
        match interrupts::shortly_without(|| pager.page_in(VirtAddr::new(at))) {
            Ok(leaf_bytes) => {
                mapped += leaf_bytes;
                at = (at - at % leaf_bytes) + leaf_bytes;
            }
            Err(error) => return (mapped, Some(error)),
        }
    }
    (mapped, None)
}

/// Gives up all that is kept for later: free blocks of the CPU, empty ranges that are still mapped, tables that hold nothing.
/// When all was freed, the frames that are free or promised are as many again as they were at first.
///
/// ```no_run
/// let work = vec![0_u8; 64 << 20];
/// drop(work);
/// unikernel::heap::trim();
/// ```
pub fn trim() {
    HEAP.trim();
    if let Some(machine) = live::machine() {
        // A range of addresses that could not be put back is lost: there are plenty.
        let _ = Subtree::<Tracked>::trim(machine, &LocalFlush);
    }
}

/// Audits the page tables from CR3, all frames, and the heap's credit, while no timer's function runs. `None` before there
/// are any.
///
/// ```no_run
/// if let Some(report) = unikernel::heap::audit() {
///     assert!(report.is_clean(), "{report}");
/// }
/// ```
#[must_use]
pub fn audit() -> Option<AuditReport> {
    crate::appliance::audit_report()
}
