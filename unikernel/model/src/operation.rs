//! What can be asked of the memory core, as values.

use crate::place::{Length, Part, Place};
use crate::size::Size;
use unikernel::memory::kind::Kind;

/// One step: what is done, and how many frames are free while it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What is done.
    pub action: Action,
    /// So many frames are free while it is done; all others are held meanwhile. None: as many as there are.
    pub spare: Option<u64>,
}

/// What is done. `range`, `other` and `which` are choices among those that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The lowest free addresses.
    Reserve {
        /// Of this kind.
        kind: Kind,
        /// How many.
        len: Length,
        /// Multiples of this.
        align_bytes: u64,
    },
    /// Just these addresses.
    ReserveAt {
        /// Of this kind.
        kind: Kind,
        /// Which.
        part: Part,
    },
    /// A range goes back.
    GiveBack {
        /// Of this kind.
        kind: Kind,
        /// Which.
        range: u8,
    },
    /// A range becomes up to three.
    Carve {
        /// Of this kind.
        kind: Kind,
        /// Which.
        range: u8,
        /// The middle.
        part: Part,
    },
    /// Two ranges become one.
    Join {
        /// Of this kind.
        kind: Kind,
        /// One.
        range: u8,
        /// The other.
        other: u8,
    },
    /// Leaves are added to a range.
    Map {
        /// Of this kind.
        kind: Kind,
        /// Which.
        range: u8,
        /// Where in it.
        at: Place,
        /// What.
        supply: Supply,
        /// With so many frames for tables that the caller brings. None: tables come from the allocator.
        tables: Option<u8>,
    },
    /// What is in a part of a range of the heap moves to another.
    Move(Move),
    /// One change to a range, which awaits a flush after.
    Change {
        /// Of this kind.
        kind: Kind,
        /// Which.
        range: u8,
        /// What.
        change: Change,
    },
    /// Several changes to a range.
    Cursor {
        /// Of this kind.
        kind: Kind,
        /// Which.
        range: u8,
        /// One after the other.
        steps: Vec<Step>,
    },
    /// What awaits a flush is flushed and released.
    Flush {
        /// Of this kind.
        kind: Kind,
        /// Which.
        which: u8,
        /// How.
        release: Release,
    },
    /// Two that await a flush share one.
    FlushPair {
        /// Of these kinds.
        kinds: [Kind; 2],
        /// Which.
        which: [u8; 2],
        /// Whether the second is released first.
        second_first: bool,
    },
    /// What awaits a flush is forgotten, with its range.
    Forget {
        /// Of this kind.
        kind: Kind,
        /// Which.
        which: u8,
    },
    /// A look.
    Query {
        /// Of this kind.
        kind: Kind,
        /// Which.
        range: u8,
        /// Where.
        at: Place,
    },
}

/// A move: a part of a range is changed, flushed, and goes into another range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// A range of the heap.
    pub range: u8,
    /// What of it, as whole blocks of 2 MiB unless the fit says otherwise.
    pub part: Part,
    /// Before what takes everything out.
    pub before: Option<Change>,
    /// What takes everything out.
    pub change: Change,
    /// The range of the heap that it goes into.
    pub target: u8,
    /// Where in it.
    pub at: Place,
    /// How many frames for tables the caller brings.
    pub tables: u8,
    /// How the two parts fit.
    pub fit: Fit,
}

/// How the source and the target of a move fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// As they must.
    Fits,
    /// The source starts and ends at any page.
    OddSource,
    /// The target starts a page too late.
    OddTarget,
    /// The target is longer.
    Longer,
}

/// What is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supply {
    /// Leaves of this size.
    pub size: Size,
    /// How many.
    pub count: u64,
    /// How they are handed over.
    pub form: Form,
    /// Which memory, for kinds that own none: see `world::supply`.
    pub memory: u8,
    /// What they allow: see `Rights`.
    pub rights: u8,
    /// Whether so many are mapped even if they do not fit.
    pub exact: bool,
}

/// How memory is handed over to a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One.
    Single,
    /// Side by side.
    Run,
    /// Of the heap: in pieces that lie apart, of lengths that two bits each say. Else: side by side.
    Batch(u8),
    /// Of the heap: a frame that was taken out of what was unmapped.
    Taken,
    /// One small leaf, by a cursor's shorter way if a cursor maps it.
    Page,
}

/// A change that can take something away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Takes leaves out.
    Unmap,
    /// Takes leaves and whole tables out.
    Detach,
    /// Takes leaves and whole tables of the last level out.
    DetachLeafTables,
    /// Takes tables out that hold nothing.
    Trim,
    /// Other rights.
    Protect(u8),
    /// One leaf becomes 512.
    Split(Size, Place),
    /// 512 leaves become one.
    Promote(Size, Place),
}

/// What a cursor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A change to a part of the range.
    Change(Change, Part),
    /// Leaves are added.
    Map(Place, Supply),
    /// A look.
    Query(Place),
}

/// How something is flushed and released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// By a shootdown.
    Shootdown,
    /// Without one, since no CPU has loaded the tables.
    Inactive,
    /// By a shootdown; then a frame of this size is taken out, and kept for [`Form::Taken`].
    Take(Size, Place),
}
