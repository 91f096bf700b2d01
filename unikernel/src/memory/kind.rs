//! The ownership kinds as a value: for printing, frame states and the audit. Nothing that maps, frees or drops reads it.

use core::fmt;

/// What the leaves of a subtree own. See [`super::page_table::ownership`] for the types that decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Application heap: each leaf owns its frame.
    Tracked,
    /// Device registers: leaves own nothing.
    Mmio,
    /// Kernel windows: leaves own nothing.
    Kva,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tracked, Self::Mmio, Self::Kva];
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Tracked => "heap",
            Self::Mmio => "MMIO",
            Self::Kva => "KVA",
        })
    }
}
