//! Milestones: moments that the kernel stamps into the [host information](guest_interface::host_information), for the host
//! to tell how long a guest took for what.

use crate::cpu::clock;
use core::sync::atomic::{AtomicU64, Ordering};
use guest_interface::host_information::Milestone;

/// Address of the record, 0 where the host has given none.
static RECORD: AtomicU64 = AtomicU64::new(0);

/// Has milestones stamped into this record.
///
/// # Safety
/// The record is whole, aligned to 8 bytes, mapped writable for as long as the kernel runs, and nobody else's.
pub(crate) unsafe fn use_record(address: u64) {
    RECORD.store(address, Ordering::Relaxed);
}

/// Has milestones stamped nowhere.
pub(crate) fn use_no_record() {
    RECORD.store(0, Ordering::Relaxed);
}

/// Stamps the present moment.
pub(crate) fn stamp(milestone: Milestone) {
    stamp_at(milestone, clock::ticks());
}

/// Stamps a moment by its TSC.
pub(crate) fn stamp_at(milestone: Milestone, ticks: u64) {
    let record = RECORD.load(Ordering::Relaxed);
    if record != 0 {
        // SAFETY: the promise of whoever called `use_record`; the offset is inside of the record and a multiple of 8.
        unsafe { ((record + milestone.offset() as u64) as *mut u64).write_volatile(ticks) };
    }
}
