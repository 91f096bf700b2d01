//! The three sizes of leaves as a value.

/// Size of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// 4 KiB.
    Small,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Huge,
}

/// Entries in a table, and parts of a leaf.
pub(crate) const PARTS: u64 = 512;

impl Size {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::Large, Self::Huge];

    /// The level of the tables that have such leaves, less one.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// In 4 KiB frames.
    pub(crate) const fn frames(self) -> u64 {
        PARTS.pow(self as u32)
    }

    pub(crate) const fn len_bytes(self) -> u64 {
        self.frames() << 12
    }

    /// What a table with such leaves translates.
    pub(crate) const fn table_len_bytes(self) -> u64 {
        self.len_bytes() * PARTS
    }

    /// The size of its parts; the smallest has none.
    pub(crate) const fn part(self) -> Self {
        match self {
            Self::Small | Self::Large => Self::Small,
            Self::Huge => Self::Large,
        }
    }
}
