//! The levels of a page table as types: each knows the size of its leaves and the levels next to it.
//!
//! Walks up are by [`LeafLevel::Parent`], walks down by [`Level::Child`], which below level 1 is [`NoLevel`]: a level that
//! no table has, so that one function serves all levels.

use super::machine::Machine;
use super::node_ref::NodeRef;
use super::ownership::Ownership;
use crate::memory::page_size::{PageSize, Size1GiB, Size2MiB, Size4KiB};

/// Number of entries in a table.
pub(crate) const ENTRIES: usize = 512;

/// An entry of this level translates two to the power of this many bytes.
pub(crate) const fn shift(level: u8) -> u32 {
    12 + 9 * (level as u32).saturating_sub(1)
}

mod sealed {
    pub trait Sealed {}
}

/// A level of a page table.
pub trait Level: sealed::Sealed + 'static {
    /// 4 for the root, 1 for the last.
    const NUMBER: u8;
    /// An entry translates two to the power of this many bytes.
    const SHIFT: u32 = shift(Self::NUMBER);
    /// The level of the tables that its entries lead to.
    type Child: LeafLevel;
    /// The size of its leaves. The root has none, and names the largest.
    type Size: LeafSize;

    /// The live table of this level that translates `address`, if there is one.
    ///
    /// # Safety
    /// The address lies in a range of kind `O` that the caller owns on this machine, for as long as the table is used.
    unsafe fn find<O: Ownership, M: Machine>(machine: &M, address: u64) -> Option<NodeRef<'_, O, Self, M>>
    where
        Self: Sized;
}

/// A level whose entries can be leaves: all but the root.
pub trait LeafLevel: Level + Sized {
    /// The level of the tables that lead to it.
    type Parent: Level<Child = Self>;
}

/// A level that tables below the root have.
pub trait TableLevel: LeafLevel {}

/// A level with tables below it: all but the last and the root.
pub trait InnerLevel: TableLevel {}

/// The size of a leaf, with the level that has such leaves.
pub trait LeafSize: PageSize {
    /// That level.
    type Level: LeafLevel<Size = Self>;
}

/// The root, the PML4. Its entries are no leaves.
pub enum L4 {}
/// The page-directory-pointer table, with leaves of 1 GiB.
pub enum L3 {}
/// The page directory, with leaves of 2 MiB.
pub enum L2 {}
/// The page table, with leaves of 4 KiB.
pub enum L1 {}
/// What is below level 1: no table has it.
pub enum NoLevel {}

impl sealed::Sealed for L4 {}

impl Level for L4 {
    const NUMBER: u8 = 4;
    type Child = L3;
    type Size = Size1GiB;

    #[inline]
    unsafe fn find<O: Ownership, M: Machine>(machine: &M, _: u64) -> Option<NodeRef<'_, O, Self, M>> {
        Some(NodeRef::root(machine))
    }
}

macro_rules! leaf_level {
    ($level:ident, $number:literal, $size:ident, $parent:ident, $child:ident) => {
        impl sealed::Sealed for $level {}

        impl Level for $level {
            const NUMBER: u8 = $number;
            type Child = $child;
            type Size = $size;

            #[inline]
            unsafe fn find<O: Ownership, M: Machine>(
                machine: &M,
                address: u64,
            ) -> Option<NodeRef<'_, O, Self, M>> {
                // SAFETY: the caller's promise.
                unsafe { $parent::find(machine, address) }?.child_at(address)
            }
        }

        impl LeafLevel for $level {
            type Parent = $parent;
        }

        impl TableLevel for $level {}
    };
}

leaf_level!(L3, 3, Size1GiB, L4, L2);
leaf_level!(L2, 2, Size2MiB, L3, L1);
leaf_level!(L1, 1, Size4KiB, L2, NoLevel);

impl InnerLevel for L3 {}
impl InnerLevel for L2 {}

impl LeafSize for Size1GiB {
    type Level = L3;
}

impl LeafSize for Size2MiB {
    type Level = L2;
}

impl LeafSize for Size4KiB {
    type Level = L1;
}

impl sealed::Sealed for NoLevel {}

impl Level for NoLevel {
    const NUMBER: u8 = 0;
    type Child = Self;
    type Size = Size4KiB;

    unsafe fn find<O: Ownership, M: Machine>(_: &M, _: u64) -> Option<NodeRef<'_, O, Self, M>> {
        None
    }
}

impl LeafLevel for NoLevel {
    type Parent = L1;
}
