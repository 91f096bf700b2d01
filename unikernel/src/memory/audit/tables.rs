//! First half of the audit: each entry by itself, and marks on the frames that entries lead to.

use super::report::AuditReport;
use super::violation::Violation;
use super::walk::{Seen, Visitor, walk};
use crate::memory::PAGE_LEN;
use crate::memory::address::PhysAddr;
use crate::memory::atomic::Ordering;
use crate::memory::frame::FrameState;
use crate::memory::kind::Kind;
use crate::memory::page_table::Machine;
use crate::memory::page_table::entry::EntryKind;
use crate::memory::page_table::span::canonical;
use x86::bits64::paging::PTFlags;

/// The frame is a table that an entry leads to.
pub(super) const TABLE: u8 = 1 << 0;
/// A heap leaf owns the frame.
pub(super) const HEAP: u8 = 1 << 1;
/// Some live mapping of the frame is writable.
pub(super) const WRITABLE: u8 = 1 << 2;
/// Some live mapping of the frame is executable.
pub(super) const EXECUTABLE: u8 = 1 << 3;
/// The frame is in the cache of a CPU.
pub(super) const CACHED: u8 = 1 << 4;

/// Walks all tables, and marks frames.
pub(super) fn check<M: Machine>(machine: &M, report: &mut AuditReport) {
    let frames = machine.frames();
    for frame in 0..frames.frame_count() {
        frames.mark(frame).store(0, Ordering::Relaxed);
    }
    frames.mark(machine.space().root().frame_number()).store(TABLE, Ordering::Relaxed);
    walk(machine, &mut Checker { machine, report });
}

struct Checker<'m, M> {
    machine: &'m M,
    report: &'m mut AuditReport,
}

impl<M: Machine> Checker<'_, M> {
    /// Marks a frame, and says which marks it had.
    fn mark(&self, frame: u64, bits: u8) -> u8 {
        let mark = self.machine.frames().mark(frame);
        let before = mark.load(Ordering::Relaxed);
        mark.store(before | bits, Ordering::Relaxed);
        before
    }

    fn leaf(&mut self, seen: &Seen, kind: Kind) {
        let live = seen.reachable && seen.entry.is_present();
        let level = usize::from(seen.level - 1);
        let counts = self.report.kind_mut(kind);
        if live {
            counts.leaves[level] += 1
        } else {
            counts.detached_leaves[level] += 1
        }
        let at = canonical(seen.block.start);
        let phys = seen.leaf_phys();
        let first = phys.frame_number();
        let count = seen.block.len_bytes() / PAGE_LEN;
        let executable = seen.entry.bits() & PTFlags::XD.bits() == 0;
        let writable = seen.entry.bits() & PTFlags::RW.bits() != 0;
        if executable && kind != Kind::Kva {
            self.report.violation(Violation::Executable { at, kind });
        }
        match kind {
            Kind::Tracked => self.heap_leaf(seen, first, count),
            Kind::Mmio if !self.machine.frames().is_hole(first, count) => {
                self.report.violation(Violation::MmioOverRam { at, phys });
            }
            Kind::Kva if !self.machine.frames().is_ram(first, count) => {
                self.report.violation(Violation::KvaOverHole { at, phys });
            }
            Kind::Mmio | Kind::Kva => {}
        }
        if live && kind != Kind::Mmio {
            let bits = if writable { WRITABLE } else { 0 } | if executable { EXECUTABLE } else { 0 };
            for frame in first..first + count {
                self.mark(frame, bits);
            }
        }
    }

    /// A heap leaf owns all its frames, alone.
    fn heap_leaf(&mut self, seen: &Seen, first: u64, count: u64) {
        let expected = [FrameState::Leaf4KiB, FrameState::Leaf2MiB, FrameState::Leaf1GiB];
        for frame in first..first + count {
            let at = canonical(seen.block.start + (frame - first) * PAGE_LEN);
            let state = self.machine.frames().state(frame);
            let is_first = frame == first;
            let fits = if is_first {
                state == expected[usize::from(seen.level - 1)]
            } else {
                state == FrameState::Unmapped
            };
            if !fits {
                self.report.violation(Violation::NotALeafFrame {
                    at,
                    frame: PhysAddr::of_frame(frame),
                    state,
                });
            }
            if self.mark(frame, HEAP) & HEAP != 0 {
                self.report.violation(Violation::FrameOwnedTwice { at, frame: PhysAddr::of_frame(frame) });
            }
        }
    }

    /// Says whether the table below is one.
    fn leads_to_table(&mut self, seen: &Seen, kind: Kind) -> bool {
        let at = canonical(seen.block.start);
        let table = seen.entry.table();
        let level = seen.level - 1;
        let state = self.machine.frames().state(table.frame_number());
        if state != (FrameState::Node { kind, level }) {
            self.report.violation(Violation::NotATable { at, kind, level, table, state });
            return false;
        }
        if self.mark(table.frame_number(), TABLE) & TABLE != 0 {
            self.report.violation(Violation::TableReachedTwice { at, table });
            return false;
        }
        true
    }
}

impl<M: Machine> Visitor for Checker<'_, M> {
    fn entry(&mut self, seen: &Seen) -> bool {
        let at = canonical(seen.block.start);
        let Some(kind) = seen.kind else {
            self.report.violation(Violation::ForeignSlot { at });
            return false;
        };
        let level = seen.level;
        if seen.entry.is_user() != self.machine.paging().user {
            self.report.violation(Violation::UserBit { at, level });
        }
        match seen.what() {
            EntryKind::Leaf | EntryKind::DetachedLeaf => self.leaf(seen, kind),
            EntryKind::Node | EntryKind::DetachedNode => return self.leads_to_table(seen, kind),
            EntryKind::Malformed | EntryKind::Absent => {
                self.report.violation(Violation::Malformed { at, level, bits: seen.entry.bits() });
            }
        }
        false
    }

    fn table(&mut self, seen: &Seen, live: u64) {
        let level = seen.level - 1;
        let live_table = seen.reachable && seen.entry.is_present();
        if let Some(kind) = seen.kind {
            let counts = self.report.kind_mut(kind);
            let tables = if live_table { &mut counts.tables } else { &mut counts.detached_tables };
            tables[usize::from(level - 1)] += 1;
        }
        let counted = self.machine.frames().word(seen.entry.table().frame_number()).load(Ordering::Relaxed);
        if counted != live {
            let at = canonical(seen.block.start);
            self.report.violation(Violation::WrongCount { at, level, counted, found: live });
        }
    }
}
