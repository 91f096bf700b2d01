//! Looking at live page tables as the hardware does: from the root, by entry bits alone, with no help from types.
//!
//! [`audit`] holds what it finds against the notes about frames; [`Dump`] prints it; [`look_up`] finds what is at one address,
//! for a fault to say. The first two want the other CPUs parked, and no
//! operation under way on this one: else they tell of what was never so. They use no memory but the frames' marks.

mod dump;
mod frames;
mod look_up;
mod report;
mod tables;
mod violation;
mod walk;

pub use dump::Dump;
pub use look_up::{MappedLeaf, Translation, look_up};
pub use report::{AuditReport, FrameCounts, TableCounts, VIOLATIONS_LISTED};
pub use violation::Violation;

use super::page_table::Machine;

/// Checks all that must hold between the tables of the machine's address space and its frames. One audit at a time.
#[must_use]
pub fn audit<M: Machine>(machine: M) -> AuditReport {
    let mut report = AuditReport::new(machine.space().outstanding());
    let root = machine.space().root();
    if let Some(loaded) = machine.loaded_root().filter(|loaded| *loaded != root) {
        report.violation(Violation::OtherRoot { loaded, root });
    }
    tables::check(&machine, &mut report);
    frames::check(&machine, &mut report);
    report
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
