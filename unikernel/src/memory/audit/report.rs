//! What an audit says.

use super::violation::Violation;
use crate::memory::kind::Kind;
use core::fmt;

/// How many violations are listed; all are counted.
pub const VIOLATIONS_LISTED: usize = 16;

/// Tables and leaves of one kind. Arrays go by level, from 1 up: leaves of 4 KiB, 2 MiB, 1 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    /// Live tables.
    pub tables: [u64; 3],
    /// Live leaves.
    pub leaves: [u64; 3],
    /// Tables that are detached, or below one that is.
    pub detached_tables: [u64; 3],
    /// Leaves that are detached, or below a detached table.
    pub detached_leaves: [u64; 3],
}

/// Frames of 4 KiB by what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Free, those in the caches of CPUs included.
    pub free: u64,
    /// The root and all other tables.
    pub tables: u64,
    /// Owned by heap leaves, live or detached.
    pub heap: u64,
    /// Tables that promotion replaced, which await a flush.
    pub retired: u64,
    /// Held by a value somewhere in the program.
    pub held: u64,
    /// Given up for good.
    pub lost: u64,
    /// RAM that is never handed out.
    pub reserved: u64,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// By kind, in the order of [`Kind::ALL`].
    pub kinds: [TableCounts; 3],
    /// All frames that are RAM.
    pub frames: FrameCounts,
    /// How many [`Detached`](crate::memory::page_table::Detached) were not released yet.
    pub outstanding: usize,
    violations: [Option<Violation>; VIOLATIONS_LISTED],
    violation_count: u64,
}

impl AuditReport {
    pub(super) const fn new(outstanding: usize) -> Self {
        Self {
            kinds: [TableCounts {
                tables: [0; 3],
                leaves: [0; 3],
                detached_tables: [0; 3],
                detached_leaves: [0; 3],
            }; 3],
            frames: FrameCounts { free: 0, tables: 0, heap: 0, retired: 0, held: 0, lost: 0, reserved: 0 },
            outstanding,
            violations: [None; VIOLATIONS_LISTED],
            violation_count: 0,
        }
    }

    /// Whether all is as it must be.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.violation_count == 0
    }

    /// How many violations there are.
    #[must_use]
    pub const fn violation_count(&self) -> u64 {
        self.violation_count
    }

    /// The first of them.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.violations.iter().flatten()
    }

    /// What there is of a kind.
    #[must_use]
    pub const fn kind(&self, kind: Kind) -> &TableCounts {
        &self.kinds[kind as usize]
    }

    pub(super) const fn kind_mut(&mut self, kind: Kind) -> &mut TableCounts {
        &mut self.kinds[kind as usize]
    }

    pub(crate) fn violation(&mut self, violation: Violation) {
        if let Some(slot) = self.violations.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(violation);
        }
        self.violation_count += 1;
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kind in Kind::ALL {
            let TableCounts { tables, leaves, detached_tables, detached_leaves } = self.kind(kind);
            let [small, middle, large] = leaves;
            write!(
                formatter,
                "{kind}: {} tables, leaves: {small} of 4 KiB, {middle} of 2 MiB, ",
                tables.iter().sum::<u64>()
            )?;
            let detached = detached_tables.iter().chain(detached_leaves).sum::<u64>();
            writeln!(formatter, "{large} of 1 GiB; {detached} tables and leaves detached")?;
        }
        let FrameCounts { free, tables, heap, retired, held, lost, reserved } = self.frames;
        write!(formatter, "frames: {free} free, {heap} heap, {tables} tables, {retired} retired, ")?;
        writeln!(
            formatter,
            "{held} held, {lost} given up, {reserved} reserved; {} await a flush",
            self.outstanding
        )?;
        for violation in self.violations() {
            writeln!(formatter, "violation: {violation}")?;
        }
        let more = self.violation_count.saturating_sub(VIOLATIONS_LISTED as u64);
        if more > 0 {
            writeln!(formatter, "and {more} more")?;
        }
        write!(formatter, "audit: {}", if self.is_clean() { "clean" } else { "FAILED" })
    }
}
