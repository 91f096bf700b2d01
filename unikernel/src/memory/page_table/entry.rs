//! One 64-bit entry of a page table, as the hardware reads it (Intel SDM volume 3, 4.5.4), and its life.
//!
//! All zero is absent. Present is live. Not present, with [`DETACHED`] set and the rest as it was, is detached: taken out,
//! and awaiting a flush. An entry tells how far its life has come, never what it owns.

use super::attributes::{ATTRIBUTE_BITS, PAT_OF_4KIB, PAT_OF_LARGE};
use super::level::LeafLevel;
use crate::memory::PAGE_LEN;
use crate::memory::address::PhysAddr;
use x86::bits64::paging::{PDFlags, PTFlags};

/// Bits 51 to 12: the address.
const ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;
/// An ignored bit, which marks a detached entry.
const DETACHED: u64 = PTFlags::USER_11.bits();
/// Set in every new leaf, so that the processor has nothing to note at the first access.
const SEEN: u64 = PTFlags::A.bits() | PTFlags::D.bits();
/// What an entry that leads to a table allows: the leaves below decide.
const NODE_RIGHTS: u64 = PTFlags::P.bits() | PTFlags::RW.bits() | PTFlags::A.bits();

/// The value of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(u64);

/// What an entry at some level is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Absent,
    Leaf,
    Node,
    DetachedLeaf,
    DetachedNode,
    /// Bits that the core never writes.
    Malformed,
}

impl Entry {
    pub(crate) const ABSENT: Self = Self(0);

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// A live leaf at level `L`. `user` is the user bit that the host wants.
    #[inline]
    pub(crate) const fn leaf<L: LeafLevel>(phys: PhysAddr, attributes: u64, user: u64) -> Self {
        Self(phys.as_u64() | Self::leaf_bits(attributes, L::NUMBER) | user | SEEN | PTFlags::P.bits())
    }

    /// A live entry that leads to a table.
    #[inline]
    pub(crate) const fn node(table: PhysAddr, user: u64) -> Self {
        Self(table.as_u64() | NODE_RIGHTS | user)
    }

    /// Attributes of a 4 KiB leaf, as a leaf at this level has them: a larger one has bit 7 set to say that it is one, and
    /// bit 12 for the PAT.
    const fn leaf_bits(attributes: u64, level: u8) -> u64 {
        if level == 1 {
            return attributes;
        }
        let pat = if attributes & PAT_OF_4KIB == 0 { 0 } else { PAT_OF_LARGE };
        attributes & !PAT_OF_4KIB | pat | PDFlags::PS.bits()
    }

    /// Attributes of a leaf at this level, as bits of a 4 KiB leaf.
    #[inline]
    pub(crate) const fn attributes(self, level: u8) -> u64 {
        if level == 1 {
            return self.0 & ATTRIBUTE_BITS;
        }
        let pat = if self.0 & PAT_OF_LARGE == 0 { 0 } else { PAT_OF_4KIB };
        self.0 & ATTRIBUTE_BITS & !PAT_OF_4KIB | pat
    }

    /// The same leaf with other attributes.
    pub(crate) const fn with_attributes(self, attributes: u64, level: u8) -> Self {
        let old = Self::leaf_bits(self.attributes(level), level);
        Self(self.0 & !old | Self::leaf_bits(attributes, level))
    }

    /// Where the leaf's memory starts.
    #[inline]
    pub(crate) const fn leaf_phys(self, level: u8) -> PhysAddr {
        let large = (1 << (9 * (level as u32 - 1))) - 1;
        PhysAddr::new(self.0 & ADDRESS_MASK & !(large * PAGE_LEN))
    }

    /// Where the table lies.
    #[inline]
    pub(crate) const fn table(self) -> PhysAddr {
        PhysAddr::new(self.0 & ADDRESS_MASK)
    }

    /// The entry after it was taken out, before the flush.
    #[inline]
    pub(crate) const fn detached(self) -> Self {
        Self(self.0 & !PTFlags::P.bits() | DETACHED)
    }

    #[inline]
    pub(crate) const fn is_absent(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(crate) const fn is_present(self) -> bool {
        self.0 & PTFlags::P.bits() != 0
    }

    #[inline]
    pub(crate) const fn is_user(self) -> bool {
        self.0 & PTFlags::US.bits() != 0
    }

    /// Whether it is a live entry that leads to a table: the quick half of [`Entry::kind`].
    #[inline]
    pub(crate) const fn leads_on(self, level: u8) -> bool {
        let leaf = if level < 4 { PDFlags::PS.bits() } else { 0 };
        level > 1 && self.0 & (PTFlags::P.bits() | DETACHED | leaf) == PTFlags::P.bits()
    }

    /// What it is, at the level with this number.
    #[inline]
    pub(crate) const fn kind(self, level: u8) -> EntryKind {
        let leaf = level == 1 || level < 4 && self.0 & PDFlags::PS.bits() != 0;
        match (self.is_present(), self.0 & DETACHED != 0, leaf) {
            (true, false, true) => EntryKind::Leaf,
            (true, false, false) => EntryKind::Node,
            (false, true, true) => EntryKind::DetachedLeaf,
            (false, true, false) => EntryKind::DetachedNode,
            (false, false, _) if self.is_absent() => EntryKind::Absent,
            _ => EntryKind::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::attributes::{Attributes, DataAccess, DeviceCache, MmioAttributes};
    use super::super::level::{L1, L2, L3};
    use super::*;

    const WRITE_COMBINING: MmioAttributes =
        MmioAttributes { access: DataAccess::ReadWrite, cache: DeviceCache::WriteCombining };

    #[test]
    fn the_pat_bit_sits_where_the_size_has_it() {
        let bits = WRITE_COMBINING.to_bits();
        let phys = PhysAddr::new(1 << 30);
        let small = Entry::leaf::<L1>(phys, bits, 0);
        assert_eq!(small.bits() & (1 << 7 | 1 << 12), 1 << 7);
        for large in [Entry::leaf::<L2>(phys, bits, 0), Entry::leaf::<L3>(phys, bits, 0)] {
            assert_eq!(large.bits() & (1 << 7 | 1 << 12), 1 << 7 | 1 << 12);
            assert_eq!(large.leaf_phys(2), phys);
            assert_eq!(large.attributes(2), bits);
        }
        assert_eq!(small.attributes(1), bits);
    }

    #[test]
    fn other_attributes_change_nothing_else() {
        let read_only = DataAccess::ReadOnly.to_bits();
        let phys = PhysAddr::new(0x20_0000);
        let user = PTFlags::US.bits();
        let changed = Entry::leaf::<L2>(phys, WRITE_COMBINING.to_bits(), user).with_attributes(read_only, 2);
        assert_eq!(changed, Entry::leaf::<L2>(phys, read_only, user));
    }

    #[test]
    fn a_detached_entry_is_neither_present_nor_absent() {
        let leaf = Entry::leaf::<L2>(PhysAddr::new(0x20_0000), DataAccess::ReadWrite.to_bits(), 0);
        let node = Entry::node(PhysAddr::new(0x3000), 0);
        let nowhere = Entry::leaf::<L1>(PhysAddr::new(0), 0, 0);
        assert_eq!(leaf.detached().kind(2), EntryKind::DetachedLeaf);
        assert_eq!(leaf.detached().leaf_phys(2), PhysAddr::new(0x20_0000));
        assert_eq!(node.detached().kind(2), EntryKind::DetachedNode);
        assert_eq!(node.detached().table(), PhysAddr::new(0x3000));
        assert_eq!(nowhere.detached().kind(1), EntryKind::DetachedLeaf, "physical page 0");
        assert_eq!(
            (leaf.kind(2), node.kind(2), leaf.kind(1)),
            (EntryKind::Leaf, EntryKind::Node, EntryKind::Leaf)
        );
        assert_eq!(Entry::ABSENT.kind(1), EntryKind::Absent);
        for entry in [leaf, node, nowhere, leaf.detached(), node.detached(), Entry::ABSENT] {
            for level in 1..=4 {
                assert_eq!(
                    entry.leads_on(level),
                    entry.kind(level) == EntryKind::Node,
                    "{entry:?} at {level}"
                );
            }
        }
        assert_eq!(Entry::from_bits(0x5000).kind(1), EntryKind::Malformed);
    }
}
