//! Freeing detached entries after the flush, by the type of the table that they are in.

use super::collector::Collector;
use super::entry::{Entry, EntryKind};
use super::level::{L4, LeafSize, Level};
use super::machine::Machine;
use super::node::Node;
use super::node_ref::NodeRef;
use super::ownership::{Leaf, Ownership};
use super::span::Span;

/// What a release freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// 4 KiB frames that leaves owned, those below whole tables included: 0 for kinds whose leaves own nothing. What was taken
    /// out of it before is not counted.
    pub leaf_frames: u64,
    /// Tables, one 4 KiB frame each: taken out whole, below such, or replaced by a promotion.
    pub tables: u64,
}

/// Frees what is detached in `span`, makes its entries absent, and counts what it freed.
///
/// # Safety
/// The span lies in the owned one, and what is detached in it has been flushed.
pub(crate) unsafe fn release<O: Ownership, M: Machine>(
    machine: &M,
    span: Span,
    owned: Span,
    freed: &mut Released,
) {
    // SAFETY: the caller's promise.
    unsafe { release_in::<O, L4, M>(NodeRef::root(machine), span, owned, freed) };
}

/// # Safety
/// As for [`release`], for the part of the span that `node` translates.
#[inline(never)]
unsafe fn release_in<O: Ownership, L: Level, M: Machine>(
    node: NodeRef<'_, O, L, M>,
    part: Span,
    owned: Span,
    freed: &mut Released,
) {
    let mut leaves = Collector::<O, L::Size, M>::new(*node.machine());
    let mut released = 0;
    for (index, within) in NodeRef::<O, L, M>::parts(part) {
        let entry = node.entry(index);
        match entry.kind(L::NUMBER) {
            EntryKind::DetachedLeaf => {
                node.set(index, Entry::ABSENT);
                // SAFETY: the leaf was given over to this entry, which is gone; the caller says that it was flushed.
                unsafe { leaves.put(entry.leaf_phys(L::NUMBER)) };
                released += 1;
            }
            EntryKind::DetachedNode => {
                node.set(index, Entry::ABSENT);
                // SAFETY: likewise, for a table of this kind and the next level.
                unsafe { Node::<O, L::Child, M>::from_entry(*node.machine(), entry) }.free(freed);
                released += 1;
            }
            EntryKind::Node => {
                let child = node.child(entry);
                if child.live() > 0 {
                    // SAFETY: the caller's promise, for a part of its part.
                    unsafe { release_in(child, within, owned, freed) };
                }
            }
            EntryKind::Absent | EntryKind::Leaf | EntryKind::Malformed => {}
        }
    }
    freed.leaf_frames += leaves.finish();
    node.sub_live(part.start, owned, released);
}

/// Takes one detached leaf of size `S` back.
///
/// # Safety
/// As for [`release`], for the span of that leaf.
pub(crate) unsafe fn take_leaf<O: Ownership, S: LeafSize, M: Machine>(
    machine: &M,
    span: Span,
    owned: Span,
) -> Option<O::Leaf<S, M>> {
    // SAFETY: the caller owns the range, which is of kind `O`.
    let node = unsafe { S::Level::find::<O, M>(machine, span.start) }?;
    let index = NodeRef::<O, S::Level, M>::index(span.start);
    let entry = node.entry(index);
    if entry.kind(S::Level::NUMBER) != EntryKind::DetachedLeaf {
        return None;
    }
    node.set(index, Entry::ABSENT);
    node.sub_live(span.start, owned, 1);
    // SAFETY: the leaf was given over to this entry, which is gone; the caller says that it was flushed.
    Some(unsafe { O::Leaf::<S, M>::from_phys(*machine, entry.leaf_phys(S::Level::NUMBER)) })
}
