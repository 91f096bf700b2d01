//! The walk itself. It trusts no entry: a table is read only if its frame is noted to be one.

use crate::memory::address::PhysAddr;
use crate::memory::address_space::kind_of_slot;
use crate::memory::atomic::Ordering;
use crate::memory::frame::{FrameSource, FrameState};
use crate::memory::kind::Kind;
use crate::memory::page_table::entry::{Entry, EntryKind};
use crate::memory::page_table::level::ENTRIES;
use crate::memory::page_table::span::Span;
use crate::memory::page_table::{EntryCell, Machine};

/// An entry that is not absent.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) entry: Entry,
    /// Of the table that it is in.
    pub(super) level: u8,
    /// Whose slot of the root it is below, if anybody's.
    pub(super) kind: Option<Kind>,
    /// What it translates.
    pub(super) block: Span,
    /// Whether the hardware can still reach it: no entry above is detached.
    pub(super) reachable: bool,
}

impl Seen {
    pub(super) const fn what(&self) -> EntryKind {
        self.entry.kind(self.level)
    }

    /// The memory of a leaf.
    pub(super) const fn leaf_phys(&self) -> PhysAddr {
        self.entry.leaf_phys(self.level)
    }
}

/// What is done with what is seen.
pub(super) trait Visitor {
    /// An entry, before what is below it. Says whether to go there.
    fn entry(&mut self, seen: &Seen) -> bool;

    /// A table was left, which the entry leads to, in which so many entries are not absent.
    fn table(&mut self, seen: &Seen, live: u64);
}

/// Walks all tables below the root.
pub(super) fn walk<M: Machine>(machine: &M, visitor: &mut impl Visitor) {
    walk_table(machine, machine.space().root(), 4, None, 0, true, visitor);
}

fn walk_table<M: Machine>(
    machine: &M,
    table: PhysAddr,
    level: u8,
    kind: Option<Kind>,
    base: u64,
    reachable: bool,
    visitor: &mut impl Visitor,
) -> u64 {
    let shift = 12 + 9 * u32::from(level - 1);
    // SAFETY: callers have seen that the frame is noted as a table; the root is one.
    let cells = unsafe { machine.table(table) };
    let mut live = 0;
    for (index, cell) in cells.iter().enumerate().take(ENTRIES) {
        let entry = Entry::from_bits(cell.load(Ordering::Acquire));
        if entry.is_absent() {
            continue;
        }
        live += 1;
        let kind = if level == 4 { kind_of_slot(index) } else { kind };
        let start = base + ((index as u64) << shift);
        let block = Span { start, end: start + (1 << shift) };
        let seen = Seen { entry, level, kind, block, reachable };
        let descend = visitor.entry(&seen);
        let leads_on = matches!(seen.what(), EntryKind::Node | EntryKind::DetachedNode);
        if descend && leads_on && is_table(machine, entry.table()) {
            let reachable = reachable && entry.is_present();
            let below = walk_table(machine, entry.table(), level - 1, kind, start, reachable, visitor);
            visitor.table(&seen, below);
        }
    }
    live
}

/// Whether the frame is noted as a table.
pub(super) fn is_table<M: FrameSource>(machine: &M, table: PhysAddr) -> bool {
    matches!(machine.frames().state(table.frame_number()), FrameState::Node { .. })
}
