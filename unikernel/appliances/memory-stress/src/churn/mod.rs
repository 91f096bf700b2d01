//! Work that stresses the allocator, the page tables and page faults instead of the cells of memory.
//!
//! A kind of churn takes things, marks them, looks at the marks and gives the things back, again and again. It runs while no
//! memory is held for other methods, does the same amount in the same order for the same seed and machine, and reports a
//! [`Figure`] for each of its parts. Marks that changed are wrong words like those of other methods.
//!
//! | file | about |
//! |---|---|
//! | [`heap`] | `heap-churn`: the global allocator |
//! | [`map`] | `map-churn`: mapping and unmapping |
//! | [`fault`] | `fault-storm`: pages on demand |
//! | [`figure`] | what a part reports |
//! | [`watch`] | clock and observer of a churn at work |
//! | [`random`] | sizes and choices from a seed |
//!
//! One more kind is a variant of [`Churn`], a module with a function like [`map::run`], and an arm of the match in
//! `run/churn.rs`; what it needs of the machine is a trait that [`Platform`](crate::platform::Platform) hands out, as for
//! [`map::Mapper`].

pub mod fault;
pub mod figure;
pub mod heap;
pub mod map;
pub mod random;
pub mod watch;

/// A kind of churn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Churn {
    /// Blocks of the global allocator: replaced, resized, grown, scattered.
    Heap,
    /// Mappings: made and taken away.
    Map,
    /// Pages on demand: touched, and given back.
    Fault,
}

impl Churn {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 3] = [Self::Heap, Self::Map, Self::Fault];

    /// The name on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Heap => "heap-churn",
            Self::Map => "map-churn",
            Self::Fault => "fault-storm",
        }
    }

    /// The churn with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|churn| churn.name() == name)
    }

    /// What it does and which faults it is for, in a line.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Heap => "blocks replaced, resized, grown, scattered: the allocator, and its speed",
            Self::Map => "pages mapped, marked, unmapped: page tables, lost frames, and their speed",
            Self::Fault => "pages touched, marked, given back: page faults, uncleared pages, and their speed",
        }
    }
}
