//! What a part of a churn reports.

use alloc::string::String;
use core::time::Duration;

/// How often a part did its operation, and how long that took, without the time for marking and looking at the marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// What the part is called in reports.
    pub part: String,
    /// Operations that were done.
    pub operations: u64,
    /// Operations that were refused for lack of memory; nothing was wrong with them.
    pub refused: u64,
    /// Time of all of them.
    pub time: Duration,
    /// Of parts that map, or have pages come and go: what each operation is about.
    pub pages: Option<Pages>,
    /// Of parts at which pages come on demand: page faults that the accesses to them took.
    pub faults: Option<u64>,
    /// Of the part that scatters blocks: what was left to allocate.
    pub room: Option<Room>,
}

/// The pages that one operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    /// How many.
    pub count: u64,
    /// Bytes of each.
    pub page_bytes: u64,
}

/// Free memory, and how much of it is in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// All that was free, in bytes.
    pub free_bytes: u64,
    /// The largest block that could be allocated, in bytes.
    pub largest_block_bytes: u64,
}

impl Figure {
    /// A part that has done nothing.
    #[must_use]
    pub fn new(part: impl Into<String>) -> Self {
        Self {
            part: part.into(),
            operations: 0,
            refused: 0,
            time: Duration::ZERO,
            pages: None,
            faults: None,
            room: None,
        }
    }

    /// Counts an operation as done or refused.
    pub fn count(&mut self, is_done: bool) {
        if is_done {
            self.operations += 1;
        } else {
            self.refused += 1;
        }
    }
}

impl Room {
    /// How much of the free memory the largest block had, in thousandths.
    #[must_use]
    pub fn thousandths(self) -> u64 {
        (u128::from(self.largest_block_bytes) * 1000 / u128::from(self.free_bytes.max(1))) as u64
    }
}
