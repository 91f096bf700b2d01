//! Splitting a large leaf into its parts, and promoting parts to one leaf, in place: no address is ever unmapped.

use super::entry::{Entry, EntryKind};
use super::error::Error;
use super::level::{ENTRIES, InnerLevel, LeafLevel, LeafSize, Level};
use super::machine::Machine;
use super::map::takes_leaves_of;
use super::node::Node;
use super::node_ref::NodeRef;
use super::ownership::{Leaf, LeafRun, Ownership};
use super::pending::Pending;
use super::span::Span;
use super::view::View;
use crate::memory::address::PhysAddr;
use crate::memory::frame::Frame;
use crate::memory::page_size::{Divisible, PARTS, PageSize, Size4KiB};

/// Sizes that consist of parts which are mapped one level down.
pub trait Compound:
    LeafSize<Level: InnerLevel + Level<Child = <Self::Part as LeafSize>::Level>> + Divisible<Part: LeafSize>
{
}

impl<S> Compound for S where
    S: LeafSize<Level: InnerLevel + Level<Child = <Self::Part as LeafSize>::Level>>
        + Divisible<Part: LeafSize>
{
}

/// What a change of sizes is about, below the types.
struct Place {
    /// The table that leads to the block, or maps it.
    table: PhysAddr,
    /// Its entry for the block.
    entry: Entry,
}

impl Place {
    /// The entry for `block` at `level`, if it is of this kind.
    fn find<M: Machine>(machine: &M, block: Span, level: u8, kind: EntryKind) -> Option<Self> {
        let (view, entry) = View::root(machine).down_to(block.start, level);
        (view.level() == level && entry.kind(level) == kind).then(|| Self { table: view.table(), entry })
    }

    fn node<'m, O: Ownership, L: LeafLevel, M: Machine>(&self, machine: &'m M) -> NodeRef<'m, O, L, M> {
        // SAFETY: it was found at this level on the way to a block of the caller's range, which is of kind `O`.
        unsafe { NodeRef::at(machine, self.table) }
    }
}

/// Makes 512 leaves of one.
pub(crate) fn split<O: Ownership, S: Compound, M: Machine>(
    machine: &M,
    block: Span,
    pending: &mut Pending<M>,
) -> Result<(), Error> {
    let (place, frame) = prepare_split(machine, block, S::Level::NUMBER)?;
    let (node, entry) = (place.node::<O, S::Level, M>(machine), place.entry);
    let parts = Node::<O, <S::Part as LeafSize>::Level, M>::with_room(frame, 0..ENTRIES);
    // SAFETY: the leaf was given over to this entry, which is the caller's and is replaced below.
    let leaf = unsafe { O::Leaf::<S, M>::from_phys(*machine, entry.leaf_phys(S::Level::NUMBER)) };
    parts.as_ref().fill(0, O::split::<S, M>(leaf), entry.attributes(S::Level::NUMBER));
    let index = NodeRef::<O, S::Level, M>::index(block.start);
    node.set(index, parts.into_entry(node.user()));
    pending.owe(block, <S::Part as PageSize>::LEN_BYTES);
    Ok(())
}

/// Finds the leaf, and a frame for the table that replaces it.
#[inline(never)]
fn prepare_split<M: Machine>(
    machine: &M,
    block: Span,
    level: u8,
) -> Result<(Place, Frame<Size4KiB, M>), Error> {
    let range = block.range();
    let place = Place::find(machine, block, level, EntryKind::Leaf).ok_or(Error::NoLeaf { range })?;
    let frame = Frame::allocate(*machine).map_err(|cause| Error::OutOfFrames { range, cause })?;
    Ok((place, frame))
}

/// Makes one leaf of 512, if they lie side by side and are alike.
pub(crate) fn promote<O: Ownership, S: Compound, M: Machine>(
    machine: &M,
    block: Span,
    pending: &mut Pending<M>,
) -> Result<(), Error> {
    let (place, start, attributes) = prepare_promotion(machine, block, S::Level::NUMBER)?;
    let (node, entry) = (place.node::<O, S::Level, M>(machine), place.entry);
    // SAFETY: the leaves were given over to these entries, which are the caller's and are replaced below.
    let run = unsafe { O::Run::<S::Part, M>::from_phys(*machine, start, PARTS) };
    let leaf = match O::merge::<S, M>(run) {
        Ok(leaf) => leaf,
        Err(run) => {
            run.into_phys();
            let range = block.range();
            return Err(Error::NotContiguous { range, at: range.start, phys: start });
        }
    };
    let index = NodeRef::<O, S::Level, M>::index(block.start);
    node.set(index, Entry::leaf::<S::Level>(leaf.into_phys(), attributes, node.user()));
    // SAFETY: the entry that led to it was replaced. What it held is the new leaf's, hence only the frame is used.
    let replaced = unsafe { Node::<O, <S::Part as LeafSize>::Level, M>::from_entry(*machine, entry) };
    pending.owe_table(machine, replaced.into_frame());
    pending.owe(block, <S::Part as PageSize>::LEN_BYTES);
    Ok(())
}

/// Finds the table, and checks that one leaf could replace it: gives its start and attributes.
#[inline(never)]
fn prepare_promotion<M: Machine>(
    machine: &M,
    block: Span,
    level: u8,
) -> Result<(Place, PhysAddr, u64), Error> {
    let range = block.range();
    takes_leaves_of(machine, range, block.len_bytes())?;
    let nothing = Error::Incomplete { range, at: range.start };
    let place = Place::find(machine, block, level, EntryKind::Node).ok_or(nothing)?;
    // SAFETY: the entry leads to a table of the next level, and is the caller's.
    let parts = unsafe { View::at(machine, place.entry.table(), level - 1) };
    let (start, attributes) = parts.alike(block)?;
    Ok((place, start, attributes))
}
