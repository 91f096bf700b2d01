//! Where operations go: a few hot places around the boundaries of tables, so that they meet; and malformed ones.
//!
//! A place is resolved against the range that an operation works on and what is mapped there, so that a random byte hits
//! something more often than not.

use crate::bytes::Bytes;
use crate::oracle::{Block, Tree};
use crate::size::Size;
use unikernel::memory::address::VirtAddr;
use unikernel::memory::page_table::VirtRange;
use unikernel::memory::{PAGE_LEN, kind::Kind};

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// So many units behind the start of the range.
    Behind(Size, u64),
    /// So many units before the end of the range.
    Before(Size, u64),
    /// So many pages from the first multiple, in the range, of what one table with such leaves translates.
    Boundary(Size, i64),
    /// Near one of the edges of the kind's root slots: an edge, and so many units of each size from it.
    Hot(u8, [i64; 3]),
    /// The start of some leaf.
    Leaf(u8),
    /// So many bytes behind the start of the range.
    Odd(u64),
    /// Just this address.
    Wild(u64),
}

/// A length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Bytes(u64),
    /// So many bytes, or up to the end of the range if that is less.
    AtMost(u64),
    /// Up to the end of the range.
    Rest,
    /// That of the leaf there, or else a page.
    OfLeaf,
}

/// An address and a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it starts.
    pub at: Place,
    /// How long it is.
    pub len: Length,
}

/// Addresses that the processor does not take, or only just.
const WILD: [u64; 8] = [
    0,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    0xffff_7fff_ffff_f000,
    0xffff_8000_0000_0000,
    0xffff_ffff_ffff_f000,
    0xffff_ffff_ffe0_0000,
    0x1_0000,
];

/// The edges of root slots that are hot, of which the first two lie inside of what the kind has.
pub(crate) fn edges(kind: Kind) -> [u64; 4] {
    match kind {
        Kind::Tracked => [2, 2, 1, 256],
        Kind::Mmio => [258, 258, 257, 320],
        Kind::Kva => [321, 512, 1, 0],
    }
    .map(|slot| slot << 39)
}

impl Place {
    pub(crate) fn decode(bytes: &mut Bytes<'_>) -> Self {
        let [class, detail] = [bytes.byte(), bytes.byte()];
        let unit = [Size::Small, Size::Small, Size::Large, Size::Huge][usize::from(class >> 3 & 3)];
        let signed = |bits: u8| i64::from(bits % 5) - 2;
        match class % 8 {
            0 | 1 => Self::Behind(unit, u64::from(detail % 6)),
            2 => Self::Before(unit, u64::from(detail % 4)),
            3 => Self::Boundary(unit, signed(detail)),
            4 => Self::Hot(class >> 6, [signed(detail), signed(detail / 5), i64::from(class >> 5 & 1)]),
            7 if class & 0x80 == 0 => Self::Wild(WILD[usize::from(detail) % WILD.len()]),
            7 if class & 0x40 == 0 => Self::Odd(u64::from(detail) << 4),
            _ => Self::Leaf(detail),
        }
    }

    /// The address for an operation on `owned` in a tree: a multiple of `align`, unless the place is malformed. Of leaves, those
    /// of size `leaf` are meant if there are any.
    pub(crate) fn resolve(self, owned: Block, tree: &Tree, align: Size, leaf: Size) -> VirtAddr {
        let address = match self {
            Self::Behind(unit, count) => {
                (owned.start + count * unit.len_bytes()).next_multiple_of(align.len_bytes())
            }
            Self::Before(unit, count) => owned.end.saturating_sub(count * unit.len_bytes()),
            Self::Boundary(unit, pages) => owned
                .start
                .next_multiple_of(unit.table_len_bytes())
                .wrapping_add_signed(pages * PAGE_LEN as i64),
            Self::Hot(edge, [small, large, huge]) => {
                let offset = [(small, Size::Small), (large, Size::Large), (huge, Size::Huge)]
                    .map(|(count, unit)| count * unit.len_bytes() as i64);
                let offset: i64 = offset.iter().sum();
                edges(tree.kind())[usize::from(edge) % 4].saturating_add_signed(offset)
            }
            Self::Leaf(index) => {
                let mut starts: Vec<u64> = leaves(owned, tree, |size| size == leaf);
                if starts.is_empty() {
                    starts = leaves(owned, tree, |_| true);
                }
                // Runs are long: first and last leaves, and those beside them, say more than those in the middle.
                let count = starts.len().max(1);
                let index = usize::from(index);
                let index = if index < 16 { index } else { (index * 251) % count };
                starts.get(index % count).copied().unwrap_or(owned.start)
            }
            Self::Odd(bytes) => return VirtAddr::new(owned.range().start.as_u64() + bytes),
            Self::Wild(address) => return VirtAddr::new(address),
        };
        let address = address / align.len_bytes() * align.len_bytes();
        let outside = address < owned.start || owned.end < address.saturating_add(align.len_bytes());
        let address = match self {
            // Beyond the range is worth a try, but not often.
            Self::Hot(..) => address,
            _ if outside => owned.start.next_multiple_of(align.len_bytes()),
            _ => address,
        };
        // The end of the upper half has no address; 48 bits are extended by their sign.
        VirtAddr::new(((address << 16).cast_signed() >> 16).cast_unsigned())
    }
}

impl Length {
    pub(crate) fn decode(bytes: &mut Bytes<'_>) -> Self {
        let pages = |count: u64| Self::AtMost(count * PAGE_LEN);
        match bytes.byte() % 32 {
            0 | 1 => pages(1),
            2 => pages(2),
            3 => pages(3),
            4 => pages(5),
            5 => pages(17),
            6 => pages(511),
            7 | 8 => pages(512),
            9 => pages(513),
            10 => pages(1024),
            11 => pages(1536),
            12 => Self::AtMost(1 << 30),
            13 => Self::AtMost((1 << 30) + PAGE_LEN),
            14 => Self::AtMost(1 << 39),
            15 => Self::AtMost((1 << 39) + (2 << 20)),
            16..=20 => Self::Rest,
            21..=25 => Self::OfLeaf,
            26 => Self::Bytes(PAGE_LEN),
            27 => Self::Bytes(2 << 20),
            28 => Self::Bytes(2 << 30),
            29 => Self::Bytes(0),
            30 => Self::Bytes(PAGE_LEN + 0x800),
            _ => Self::Bytes(u64::MAX - 0xfff),
        }
    }
}

impl Length {
    /// That of a range to work on, which small leaves alone would not fill.
    pub(crate) fn decode_wide(bytes: &mut Bytes<'_>) -> Self {
        let large = |count: u64, pages: u64| Self::Bytes(count * (2 << 20) + pages * PAGE_LEN);
        match bytes.byte() {
            byte @ 0..=95 => large(u64::from(byte % 4) + 1, u64::from(byte / 4 % 4)),
            byte @ 96..=127 => large(512 + u64::from(byte % 4), u64::from(byte / 4 % 4)),
            128..=143 => large(512 * 512, 0),
            _ => Self::decode(bytes),
        }
    }
}

/// Where leaves of some sizes start.
fn leaves(owned: Block, tree: &Tree, sizes: impl Fn(Size) -> bool) -> Vec<u64> {
    tree.leaves_in(owned).filter(|(_, leaf)| sizes(leaf.size)).map(|(start, _)| start).collect()
}

impl Part {
    /// All of a range.
    pub const WHOLE: Self = Self { at: Place::Behind(Size::Small, 0), len: Length::Rest };

    pub(crate) fn decode(bytes: &mut Bytes<'_>) -> Self {
        Self { at: Place::decode(bytes), len: Length::decode(bytes) }
    }

    /// The range for an operation on `owned` in a tree.
    pub(crate) fn resolve(self, owned: Block, tree: &Tree) -> VirtRange {
        let at = self.at.resolve(owned, tree, Size::Small, Size::Small);
        let address = at.as_u64() % (1 << 48);
        let rest = owned.end.saturating_sub(address);
        let len_bytes = match self.len {
            Length::Bytes(len_bytes) => len_bytes,
            Length::AtMost(len_bytes) => {
                if rest == 0 {
                    len_bytes
                } else {
                    len_bytes.min(rest)
                }
            }
            Length::Rest => rest,
            Length::OfLeaf => tree.leaf_over(address).map_or(PAGE_LEN, |(_, leaf)| leaf.size.len_bytes()),
        };
        VirtRange::new(at, len_bytes)
    }
}
