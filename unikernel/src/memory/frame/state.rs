//! What a frame is used for, as one byte a frame: for the audit and messages. Nothing that
//! frees decides by it.

use crate::memory::kind::Kind;
use core::fmt;

/// Use of a 4 KiB frame.
///
/// | byte | state |
/// |---|---|
/// | 0 | [`Hole`](Self::Hole) |
/// | 1 | [`Reserved`](Self::Reserved) |
/// | 2 | [`Unmapped`](Self::Unmapped) |
/// | 3 | [`Lost`](Self::Lost) |
/// | 4, 5, 6 | [`Leaf4KiB`](Self::Leaf4KiB), [`Leaf2MiB`](Self::Leaf2MiB), [`Leaf1GiB`](Self::Leaf1GiB) |
/// | 7 | [`RetiredNode`](Self::RetiredNode) |
/// | 8 | [`Root`](Self::Root) |
/// | 0x10 + 4 × kind + level | [`Node`](Self::Node), with `Tracked` 0, `Mmio` 1, `Kva` 2 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameState {
    /// There is no RAM here.
    Hole,
    /// RAM that is never handed out: firmware tables, the kernel image, the frame arrays, physical page 0.
    Reserved,
    /// Free, or held by a value that owns it. Which of the two, the bitmap says.
    Unmapped,
    /// Given up for good by a `leak`.
    Lost,
    /// Mapped by a tracked 4 KiB leaf.
    Leaf4KiB,
    /// First frame of a tracked 2 MiB leaf; the other 511 stay [`Unmapped`](Self::Unmapped).
    Leaf2MiB,
    /// First frame of a tracked 1 GiB leaf; the others stay [`Unmapped`](Self::Unmapped).
    Leaf1GiB,
    /// A node that promotion replaced by a leaf and that waits for a flush.
    RetiredNode,
    /// The root page of an address space.
    Root,
    /// A node below the root.
    Node {
        /// What its leaves own.
        kind: Kind,
        /// 1 to 3; its entries map 4 KiB, 2 MiB or 1 GiB each. Of any other number only the two low bits are kept.
        level: u8,
    },
}

/// Set in the byte of every node below the root, and in no other.
const NODE: u8 = 0x10;
const LEVEL_MASK: u8 = 0b11;

impl FrameState {
    /// The byte in the array.
    #[must_use]
    pub const fn encode(self) -> u8 {
        match self {
            Self::Hole => 0,
            Self::Reserved => 1,
            Self::Unmapped => 2,
            Self::Lost => 3,
            Self::Leaf4KiB => 4,
            Self::Leaf2MiB => 5,
            Self::Leaf1GiB => 6,
            Self::RetiredNode => 7,
            Self::Root => 8,
            Self::Node { kind, level } => NODE | (kind as u8) << 2 | (level & LEVEL_MASK),
        }
    }

    /// The state that is encoded as this byte.
    #[must_use]
    pub const fn decode(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Hole,
            1 => Self::Reserved,
            2 => Self::Unmapped,
            3 => Self::Lost,
            4 => Self::Leaf4KiB,
            5 => Self::Leaf2MiB,
            6 => Self::Leaf1GiB,
            7 => Self::RetiredNode,
            8 => Self::Root,
            0x11..=0x13 => Self::Node { kind: Kind::Tracked, level: byte & LEVEL_MASK },
            0x15..=0x17 => Self::Node { kind: Kind::Mmio, level: byte & LEVEL_MASK },
            0x19..=0x1b => Self::Node { kind: Kind::Kva, level: byte & LEVEL_MASK },
            _ => return None,
        })
    }
}

impl fmt::Display for FrameState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Hole => "no RAM",
            Self::Reserved => "reserved",
            Self::Unmapped => "free or held",
            Self::Lost => "given up",
            Self::Leaf4KiB => "a heap leaf of 4 KiB",
            Self::Leaf2MiB => "a heap leaf of 2 MiB",
            Self::Leaf1GiB => "a heap leaf of 1 GiB",
            Self::RetiredNode => "a table that was replaced",
            Self::Root => "a root",
            Self::Node { kind, level } => return write!(formatter, "a {kind} table of level {level}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_that_decodes_encodes_to_itself() {
        let states: alloc::vec::Vec<_> = (0..=u8::MAX).filter_map(FrameState::decode).collect();
        assert_eq!(states.len(), 9 + 9);
        for byte in 0..=u8::MAX {
            if let Some(state) = FrameState::decode(byte) {
                assert_eq!(state.encode(), byte);
            }
        }
    }

    #[test]
    fn every_node_survives_the_byte() {
        for kind in Kind::ALL {
            for level in 1..=3 {
                let node = FrameState::Node { kind, level };
                assert_eq!(FrameState::decode(node.encode()), Some(node));
            }
        }
    }
}
