//! What an audit can find.

use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::frame::FrameState;
use crate::memory::kind::Kind;
use core::fmt;

/// Something that must never be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The processor walks other tables than those of the address space.
    OtherRoot {
        /// The root in CR3.
        loaded: PhysAddr,
        /// That of the address space.
        root: PhysAddr,
    },
    /// An entry in a root slot that is nobody's.
    ForeignSlot {
        /// The first address of the slot.
        at: VirtAddr,
    },
    /// An entry that the core does not write.
    Malformed {
        /// The first address that it translates.
        at: VirtAddr,
        /// Level of its table.
        level: u8,
        /// Its bits.
        bits: u64,
    },
    /// A live entry whose user bit is not as the host wants it.
    UserBit {
        /// The first address that it translates.
        at: VirtAddr,
        /// Level of its table.
        level: u8,
    },
    /// An entry leads to a frame that is not noted as the table it should be.
    NotATable {
        /// The first address that it translates.
        at: VirtAddr,
        /// The kind of the subtree.
        kind: Kind,
        /// The level that the table should have.
        level: u8,
        /// Where it leads.
        table: PhysAddr,
        /// What is noted there.
        state: FrameState,
    },
    /// Two entries lead to one table.
    TableReachedTwice {
        /// The first address that the second translates.
        at: VirtAddr,
        /// The table.
        table: PhysAddr,
    },
    /// A table's count is not the number of its entries that are not absent.
    WrongCount {
        /// The first address that it translates.
        at: VirtAddr,
        /// Level of the table.
        level: u8,
        /// What was counted while it was changed.
        counted: u64,
        /// What there is.
        found: u64,
    },
    /// A heap leaf maps a frame that is not noted as one of a leaf of its size.
    NotALeafFrame {
        /// Where it is mapped.
        at: VirtAddr,
        /// The frame.
        frame: PhysAddr,
        /// What is noted there.
        state: FrameState,
    },
    /// Two heap leaves own one frame.
    FrameOwnedTwice {
        /// Where the second maps it.
        at: VirtAddr,
        /// The frame.
        frame: PhysAddr,
    },
    /// A heap leaf or an MMIO leaf is executable.
    Executable {
        /// Where it is mapped.
        at: VirtAddr,
        /// The kind of the subtree.
        kind: Kind,
    },
    /// An MMIO leaf maps RAM.
    MmioOverRam {
        /// Where it is mapped.
        at: VirtAddr,
        /// Where it leads.
        phys: PhysAddr,
    },
    /// A KVA leaf maps what is no RAM.
    KvaOverHole {
        /// Where it is mapped.
        at: VirtAddr,
        /// Where it leads.
        phys: PhysAddr,
    },
    /// A frame is writable through one mapping, and executable through one.
    WritableAndExecutable {
        /// The frame.
        frame: PhysAddr,
    },
    /// The heap's credit is not what is handed out and not mapped.
    HeapCredit {
        /// Frames of credit that it holds.
        credit: u64,
        /// What it should hold.
        expected: u64,
    },
    /// A free frame is in use.
    FreeInUse {
        /// The frame.
        frame: PhysAddr,
        /// What is noted there.
        state: FrameState,
    },
    /// No entry leads to a frame that is noted as table or heap leaf: it is lost.
    Unreached {
        /// The frame.
        frame: PhysAddr,
        /// What is noted there.
        state: FrameState,
    },
    /// The allocator does not count as many free frames as there are.
    FreeCount {
        /// What it counts.
        counted: u64,
        /// What there are.
        found: u64,
    },
    /// Of the free frames in no CPU's cache, some are neither promised to a credit nor unpromised, or counted as both.
    Credit {
        /// How many there are.
        free: u64,
        /// How many are promised to nobody.
        unpromised: u64,
        /// How many credits hold.
        promised: u64,
    },
    /// Free frames were given back again. The allocator refused.
    FreedTwice {
        /// How many.
        frames: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherRoot { loaded, root } => {
                write!(formatter, "CR3 leads to {loaded}, and not to {root}, the root of the address space")
            }
            Self::ForeignSlot { at } => {
                write!(formatter, "the root slot of {at} is used, and belongs to no kind")
            }
            Self::Malformed { at, level, bits } => {
                write!(formatter, "the level {level} entry of {at} is malformed: {bits:#018x}")
            }
            Self::UserBit { at, level } => {
                write!(formatter, "the level {level} entry of {at} has the wrong user bit for this host")
            }
            Self::NotATable { at, kind, level, table, state } => write!(
                formatter,
                "{at} leads to {table} for a {kind} table of level {level}, but that frame is noted as {state}"
            ),
            Self::TableReachedTwice { at, table } => {
                write!(formatter, "{at} leads to table {table}, as another entry does")
            }
            Self::WrongCount { at, level, counted, found } => write!(
                formatter,
                "the level {level} table of {at} has {found} entries in use, but {counted} were counted"
            ),
            Self::NotALeafFrame { at, frame, state } => {
                write!(formatter, "heap at {at} is mapped to {frame}, a frame that is noted as {state}")
            }
            Self::FrameOwnedTwice { at, frame } => {
                write!(formatter, "heap at {at} is mapped to {frame}, as another heap leaf is")
            }
            Self::Executable { at, kind } => write!(formatter, "{kind} at {at} is executable"),
            Self::MmioOverRam { at, phys } => write!(formatter, "MMIO at {at} is mapped to RAM at {phys}"),
            Self::KvaOverHole { at, phys } => {
                write!(formatter, "KVA at {at} is mapped to {phys}, where there is no RAM")
            }
            Self::WritableAndExecutable { frame } => {
                write!(formatter, "frame {frame} is writable through one mapping and executable through one")
            }
            Self::HeapCredit { credit, expected } => write!(
                formatter,
                "the heap holds credit for {credit} frames, and should for {expected}, by what is handed out and not mapped"
            ),
            Self::FreeInUse { frame, state } => {
                write!(formatter, "frame {frame} is free, but mapped, or noted as {state}")
            }
            Self::Unreached { frame, state } => {
                write!(formatter, "frame {frame} is noted as {state}, but no entry leads to it: it is lost")
            }
            Self::FreeCount { counted, found } => {
                write!(formatter, "{found} frames are free, but the allocator counts {counted}")
            }
            Self::Credit { free, unpromised, promised } => write!(
                formatter,
                "credit does not add up: {free} frames are free and in no CPU's cache, but {unpromised} are \
                 unpromised and {promised} are promised"
            ),
            Self::FreedTwice { frames } => {
                write!(formatter, "{frames} frames were given back while they were free")
            }
        }
    }
}
