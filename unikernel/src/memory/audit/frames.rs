//! Second half of the audit: each frame, by its note, the marks of the first half, and the allocator.

use super::report::AuditReport;
use super::tables::{CACHED, EXECUTABLE, HEAP, TABLE, WRITABLE};
use super::violation::Violation;
use crate::memory::address::PhysAddr;
use crate::memory::atomic::Ordering;
use crate::memory::frame::FrameState;
use crate::memory::page_table::Machine;

/// Sorts all frames, and finds those that are two things at once, or nothing.
pub(super) fn check<M: Machine>(machine: &M, report: &mut AuditReport) {
    let frames = machine.frames();
    for (first, count) in frames.cached_runs() {
        for frame in first..first + count {
            frames.mark(frame).fetch_or(CACHED, Ordering::Relaxed);
        }
    }
    for number in 0..frames.frame_count() {
        let state = frames.state(number);
        let mark = frames.mark(number).load(Ordering::Relaxed);
        let frame = PhysAddr::of_frame(number);
        let is_free = !frames.is_taken(number) || mark & CACHED != 0;
        if mark & WRITABLE != 0 && mark & EXECUTABLE != 0 {
            report.violation(Violation::WritableAndExecutable { frame });
        }
        if is_free {
            if mark & (TABLE | HEAP) != 0 || state != FrameState::Unmapped {
                report.violation(Violation::FreeInUse { frame, state });
            }
            report.frames.free += 1;
            continue;
        }
        let counts = &mut report.frames;
        match state {
            FrameState::Hole => {}
            FrameState::Reserved => counts.reserved += 1,
            FrameState::Lost => counts.lost += 1,
            FrameState::RetiredNode => counts.retired += 1,
            FrameState::Root | FrameState::Node { .. } => {
                counts.tables += 1;
                if mark & TABLE == 0 {
                    report.violation(Violation::Unreached { frame, state });
                }
            }
            FrameState::Leaf4KiB | FrameState::Leaf2MiB | FrameState::Leaf1GiB => {
                counts.heap += 1;
                if mark & HEAP == 0 {
                    report.violation(Violation::Unreached { frame, state });
                }
            }
            FrameState::Unmapped if mark & HEAP != 0 => counts.heap += 1,
            FrameState::Unmapped => counts.held += 1,
        }
    }
    let statistics = frames.statistics();
    if statistics.free != report.frames.free {
        let (counted, found) = (statistics.free, report.frames.free);
        report.violation(Violation::FreeCount { counted, found });
    }
    let (free, promised) = (statistics.free - statistics.cached, statistics.promised);
    let unpromised = frames.unpromised();
    if free != unpromised + promised {
        report.violation(Violation::Credit { free, unpromised, promised });
    }
    if statistics.double_frees > 0 {
        report.violation(Violation::FreedTwice { frames: statistics.double_frees });
    }
}
