//! What an operation on a range can refuse, with the values involved.

use super::span::VirtRange;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::frame::OutOfFrames;
use crate::memory::kind::Kind;
use core::fmt;

/// Why an operation was refused. The tables are as they were before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The range has no bytes.
    Empty {
        /// Where it starts.
        at: VirtAddr,
    },
    /// The range ends behind the last address.
    Overflow {
        /// What was asked for.
        range: VirtRange,
    },
    /// An end of the range is not a multiple of what the operation works in.
    Unaligned {
        /// What was asked for.
        range: VirtRange,
        /// What both ends must be multiples of, in bytes.
        align_bytes: u64,
    },
    /// The range holds addresses that the processor takes for malformed.
    NotCanonical {
        /// What was asked for.
        range: VirtRange,
    },
    /// The range is not inside the one that the caller owns.
    OutsideRange {
        /// What was asked for.
        range: VirtRange,
        /// What is owned.
        owned: VirtRange,
    },
    /// The range is not among the free addresses of the kind.
    NotFree {
        /// What was asked for.
        range: VirtRange,
        /// In the subtree of this kind.
        kind: Kind,
    },
    /// No free range of the kind is long enough.
    NoRange {
        /// Bytes asked for.
        len_bytes: u64,
        /// Alignment asked for, in bytes.
        align_bytes: u64,
        /// In the subtree of this kind.
        kind: Kind,
    },
    /// The free addresses of the kind are in more pieces than the allocator can hold.
    TooManyRanges {
        /// What could not be taken out or put back.
        range: VirtRange,
        /// How many pieces it can hold.
        capacity: usize,
    },
    /// Two ranges that are not neighbours can't be joined.
    NotAdjacent {
        /// One.
        first: VirtRange,
        /// The other.
        second: VirtRange,
    },
    /// The target of a move is not as long as its source.
    OtherLength {
        /// The target.
        range: VirtRange,
        /// The source.
        source: VirtRange,
    },
    /// Something was taken out by itself that is smaller than 2 MiB, or larger than a table of the last level.
    NotMovable {
        /// The range that it was taken out of.
        range: VirtRange,
    },
    /// What is to be put into the range belongs to another machine, or another one has checked the physical range.
    ForeignBacking {
        /// What was asked for.
        range: VirtRange,
    },
    /// Something is mapped there already.
    AlreadyMapped {
        /// What was asked for.
        range: VirtRange,
        /// The first page of it that is taken.
        at: VirtAddr,
    },
    /// No leaf is in the way, but a table that earlier mappings left: trim the range first, and flush.
    TableKept {
        /// What was asked for.
        range: VirtRange,
        /// The first address that the table translates.
        at: VirtAddr,
    },
    /// Something in the range is mapped still, so its addresses can't be given back.
    StillMapped {
        /// What was to be given back.
        range: VirtRange,
        /// A page of it that is in use.
        at: VirtAddr,
    },
    /// Part of the range was unmapped, or its rights were lessened, and no CPU has flushed since: finish and flush first.
    AwaitingFlush {
        /// What was asked for.
        range: VirtRange,
        /// What awaits the flush.
        pending: VirtRange,
    },
    /// An edge of the range lies inside a large leaf: split the leaf first, or take all of it.
    CutsLeaf {
        /// What was asked for.
        range: VirtRange,
        /// What the leaf maps.
        leaf: VirtRange,
    },
    /// No leaf of the size is mapped there.
    NoLeaf {
        /// What was asked for, of the size of the leaf.
        range: VirtRange,
    },
    /// Not all of the parts are mapped by leaves of the next smaller size.
    Incomplete {
        /// What was to become one leaf.
        range: VirtRange,
        /// The first part that is missing, or smaller.
        at: VirtAddr,
    },
    /// The parts do not lie side by side in physical memory, from a multiple of the size on.
    NotContiguous {
        /// What was to become one leaf.
        range: VirtRange,
        /// The first part that is elsewhere.
        at: VirtAddr,
        /// Where in physical memory it is.
        phys: PhysAddr,
    },
    /// The parts differ in permissions or cache type.
    Unequal {
        /// What was to become one leaf.
        range: VirtRange,
        /// The first part that differs from those before.
        at: VirtAddr,
    },
    /// The host takes no leaves of this size.
    UnsupportedSize {
        /// What was asked for.
        range: VirtRange,
        /// The size of the leaves, in bytes.
        leaf_bytes: u64,
    },
    /// Device registers were asked for where there is RAM (two cache types for one page).
    IsRam {
        /// The physical start.
        start: PhysAddr,
        /// Bytes.
        len_bytes: u64,
    },
    /// RAM was asked for where there is none.
    NotRam {
        /// The physical start.
        start: PhysAddr,
        /// Bytes.
        len_bytes: u64,
    },
    /// A physical range that is empty, unaligned, or ends behind the last physical address.
    BadPhysicalRange {
        /// The physical start.
        start: PhysAddr,
        /// Bytes.
        len_bytes: u64,
        /// What both ends must be multiples of, in bytes.
        align_bytes: u64,
    },
    /// No frame is left for a table: none is free, or the caller brought too few.
    OutOfFrames {
        /// What was asked for.
        range: VirtRange,
        /// How many were needed, and how many there were.
        cause: OutOfFrames,
    },
}

/// An operation that was refused, with what it had been given.
#[derive(Debug)]
#[must_use = "holds what the operation was given: dropping it can lose a range or free frames"]
pub struct Rejected<T> {
    /// Why.
    pub error: Error,
    /// What the operation was given.
    pub input: T,
}

impl<T> Rejected<T> {
    pub(crate) const fn new(error: Error, input: T) -> Self {
        Self { error, input }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { at } => write!(formatter, "a range at {at} without any bytes"),
            Self::Overflow { range } => {
                write!(
                    formatter,
                    "{} bytes from {} on go beyond the last address",
                    range.len_bytes, range.start
                )
            }
            Self::Unaligned { range, align_bytes } => {
                write!(formatter, "{range} does not start and end at multiples of {align_bytes:#x}")
            }
            Self::NotCanonical { range } => write!(formatter, "{range} is not canonical"),
            Self::OutsideRange { range, owned } => {
                write!(formatter, "{range} is not inside {owned}, which is owned")
            }
            Self::NotFree { range, kind } => write!(formatter, "{range} is not free for {kind}"),
            Self::NoRange { len_bytes, align_bytes, kind } => write!(
                formatter,
                "no {len_bytes:#x} bytes of addresses, aligned to {align_bytes:#x}, are free for {kind}"
            ),
            Self::TooManyRanges { range, capacity } => write!(
                formatter,
                "{range} would leave the free addresses in more than {capacity} pieces: join it with its neighbours"
            ),
            Self::NotAdjacent { first, second } => {
                write!(formatter, "{first} and {second} are not neighbours")
            }
            Self::OtherLength { range, source } => write!(formatter, "{range} is not as long as {source}"),
            Self::NotMovable { range } => {
                write!(formatter, "{range} can't be moved: not all of it was taken out by blocks of 2 MiB")
            }
            Self::ForeignBacking { range } => {
                write!(
                    formatter,
                    "{range} can't be mapped to what belongs to another machine, or was checked by one"
                )
            }
            Self::AlreadyMapped { range, at } => write!(formatter, "{range} can't be mapped: {at} is mapped"),
            Self::TableKept { range, at } => {
                write!(
                    formatter,
                    "{range} can't be mapped by large leaves: {at} has an empty table; trim the range first"
                )
            }
            Self::StillMapped { range, at } => {
                write!(formatter, "{range} can't be given back: {at} is mapped; unmap it first")
            }
            Self::AwaitingFlush { range, pending } => {
                write!(formatter, "{range} can't be changed before {pending} is flushed")
            }
            Self::CutsLeaf { range, leaf } => {
                write!(formatter, "{range} cuts the large leaf that maps {leaf}: split it, or take all of it")
            }
            Self::NoLeaf { range } => write!(formatter, "no leaf maps just {range}"),
            Self::Incomplete { range, at } => {
                write!(formatter, "{range} can't be one leaf: no part is mapped at {at}")
            }
            Self::NotContiguous { range, at, phys } => {
                write!(formatter, "{range} can't be one leaf: {at} is mapped to {phys}, out of line")
            }
            Self::Unequal { range, at } => {
                write!(
                    formatter,
                    "{range} can't be one leaf: {at} has other permissions or another cache type"
                )
            }
            Self::UnsupportedSize { range, leaf_bytes } => {
                write!(formatter, "{range}: this host takes no leaves of {leaf_bytes:#x} bytes")
            }
            Self::IsRam { start, len_bytes } => {
                write!(formatter, "{len_bytes:#x} bytes at physical {start} hold RAM, not device registers")
            }
            Self::NotRam { start, len_bytes } => {
                write!(formatter, "{len_bytes:#x} bytes at physical {start} are not all RAM")
            }
            Self::BadPhysicalRange { start, len_bytes, align_bytes } => write!(
                formatter,
                "{len_bytes:#x} bytes at physical {start}: not whole blocks of {align_bytes:#x} that exist"
            ),
            Self::OutOfFrames { range, cause } => {
                write!(formatter, "{range}: no frame for a page table: {cause}")
            }
        }
    }
}

impl core::error::Error for Error {}
