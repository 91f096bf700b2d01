//! An owned table: never linked, or unlinked and flushed.
//!
//! This is the only thing whose `Drop` frees, and the only code that frees what a table holds. A table that hardware can
//! reach is no [`Node`] but an entry; to become one again it must have been flushed.

use super::attributes::Attributes;
use super::collector::Collector;
use super::entry::{Entry, EntryKind};
use super::level::{ENTRIES, InnerLevel, LeafLevel, TableLevel};
use super::link::{free, make_table, take_frame};
use super::machine::Machine;
use super::node_ref::NodeRef;
use super::ownership::{Leaf, Ownership};
use super::release::Released;
use crate::memory::address::PhysAddr;
use crate::memory::frame::{Frame, FrameState, same_allocator};
use crate::memory::page_size::Size4KiB;
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop};
use core::ops::Range;

/// An owned table of ownership kind `O` at level `L`. Its own frame is owned whatever `O` is; `O` says what leaves own.
pub struct Node<O: Ownership, L: LeafLevel, M: Machine> {
    table: PhysAddr,
    machine: M,
    type_of: PhantomData<(O, L)>,
}

impl<O: Ownership, L: LeafLevel, M: Machine> Node<O, L, M> {
    /// An empty table. Until it goes into another, the audit takes it for lost.
    #[must_use]
    pub fn new(frame: Frame<Size4KiB, M>) -> Self
    where
        L: TableLevel,
    {
        Self::with_room(frame, 0..0)
    }

    /// A table whose entries in `used` the caller writes before anything else happens to it; the others are absent.
    pub(crate) fn with_room(frame: Frame<Size4KiB, M>, used: Range<usize>) -> Self {
        let machine = frame.machine();
        let table = make_table(frame, FrameState::Node { kind: O::KIND, level: L::NUMBER }, used);
        Self { table, machine, type_of: PhantomData }
    }

    /// The table as operations see it.
    #[inline]
    pub(crate) fn as_ref(&self) -> NodeRef<'_, O, L, M> {
        // SAFETY: it is a table of this kind and level, and owned.
        unsafe { NodeRef::at(&self.machine, self.table) }
    }

    /// Puts a leaf into an absent entry.
    ///
    /// # Errors
    /// The leaf, if the entry is taken, there is none at `index`, or the leaf belongs to another machine.
    pub fn set_leaf(
        &mut self,
        index: usize,
        leaf: O::Leaf<L::Size, M>,
        attributes: O::Attributes,
    ) -> Result<(), O::Leaf<L::Size, M>> {
        if !self.has_room(index) || !leaf.is_of(&self.machine) {
            return Err(leaf);
        }
        let node = self.as_ref();
        node.set(index, Entry::leaf::<L>(leaf.into_phys(), attributes.to_bits(), node.user()));
        node.set_live(node.live() + 1);
        Ok(())
    }

    /// Puts a table of the same kind and the next level into an absent entry.
    ///
    /// # Errors
    /// The table, if the entry is taken, there is none at `index`, or the table belongs to another machine.
    pub fn set_child(&mut self, index: usize, child: Node<O, L::Child, M>) -> Result<(), Node<O, L::Child, M>>
    where
        L: InnerLevel,
    {
        if !self.has_room(index) || !same_allocator(&self.machine, &child.machine) {
            return Err(child);
        }
        let node = self.as_ref();
        node.set(index, child.into_entry(node.user()));
        node.set_live(node.live() + 1);
        Ok(())
    }

    fn has_room(&self, index: usize) -> bool {
        index < ENTRIES && self.as_ref().entry(index).is_absent()
    }

    /// The entry that leads here.
    #[inline]
    pub(crate) fn entry(&self, user: u64) -> Entry {
        Entry::node(self.table, user)
    }

    /// Gives the table over to the entry that leads to it.
    #[inline]
    pub(crate) fn into_entry(self, user: u64) -> Entry {
        let entry = self.entry(user);
        mem::forget(self);
        entry
    }

    /// Takes a table back from the entry that led to it.
    ///
    /// # Safety
    /// The entry comes from [`Node::into_entry`] of this type, and is gone; no CPU can reach the table.
    pub(crate) unsafe fn from_entry(machine: M, entry: Entry) -> Self {
        Self { table: entry.table(), machine, type_of: PhantomData }
    }

    /// The frame of a table whose entries own nothing (any more): empty, or handed on.
    pub(crate) fn into_frame(self) -> Frame<Size4KiB, M> {
        // SAFETY: the table is owned by this value, which is forgotten here.
        let frame = unsafe { take_frame(self.machine, self.table) };
        mem::forget(self);
        frame
    }

    /// Frees the table as a drop does, and counts what that freed.
    #[inline]
    pub(crate) fn free(self, freed: &mut Released) {
        // SAFETY: the value is forgotten here.
        unsafe { ManuallyDrop::new(self).free_all(freed) };
    }

    /// Frees what the table holds, by the types of what it holds, and its frame.
    ///
    /// # Safety
    /// The value is not used again.
    #[inline(never)]
    unsafe fn free_all(&mut self, freed: &mut Released) {
        let node = self.as_ref();
        let leaves_own = mem::needs_drop::<O::Leaf<L::Size, M>>();
        if node.live() > 0 && (leaves_own || L::NUMBER > 1) {
            let mut leaves = Collector::<O, L::Size, M>::new(self.machine);
            for index in 0..ENTRIES {
                let entry = node.entry(index);
                match entry.kind(L::NUMBER) {
                    // To what is malformed nothing was ever given over.
                    EntryKind::Absent | EntryKind::Malformed => {}
                    // SAFETY: the leaf was given over to this entry, which no CPU can reach, and which goes with the table.
                    EntryKind::Leaf | EntryKind::DetachedLeaf => unsafe {
                        leaves.put(entry.leaf_phys(L::NUMBER))
                    },
                    EntryKind::Node | EntryKind::DetachedNode => {
                        // SAFETY: likewise, for a table of this kind and the next level.
                        unsafe { Node::<O, L::Child, M>::from_entry(self.machine, entry) }.free(freed);
                    }
                }
            }
            freed.leaf_frames += leaves.finish();
        }
        // SAFETY: the table is owned by this value, which by the caller's promise ends here.
        unsafe { free(self.machine, self.table) };
        freed.tables += 1;
    }
}

impl<O: Ownership, L: LeafLevel, M: Machine> Drop for Node<O, L, M> {
    fn drop(&mut self) {
        // SAFETY: the value goes away here.
        unsafe { self.free_all(&mut Released::default()) };
    }
}
