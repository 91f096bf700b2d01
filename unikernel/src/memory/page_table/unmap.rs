//! Taking things out: single leaves, all leaves of a range, or whole tables at once.
//!
//! A leaf that owns its memory stays in its entry, detached, until the flush; so unmapping needs no memory. One that owns
//! nothing is forgotten at once. Which of the two is known from the leaf's type.

use super::entry::{Entry, EntryKind};
use super::error::Error;
use super::level::{ENTRIES, L1, L2, L4, Level};
use super::machine::Machine;
use super::node_ref::NodeRef;
use super::ownership::Ownership;
use super::pending::Pending;
use super::span::Span;
use super::view::View;
use crate::memory::PAGE_LEN;
use crate::memory::page_size::PageSize;
use core::mem::needs_drop;

/// What becomes of tables all of whose addresses are in the range.
#[derive(Clone, Copy)]
pub(crate) enum Tables {
    /// They stay, for mappings to come.
    Keep,
    /// Those of the last level are taken out, by one store each, with the leaves that they hold; the others stay.
    TakeLast,
    /// They are taken out, by one store each, with all that they hold.
    Take,
}

impl Tables {
    /// Whether whole tables below an entry of this level are taken out.
    const fn takes_below(self, level: u8) -> bool {
        match self {
            Self::Keep => false,
            Self::TakeLast => level == L2::NUMBER,
            Self::Take => true,
        }
    }
}

/// Takes all leaves of `span` out.
pub(crate) fn unmap<O: Ownership, M: Machine>(
    machine: &M,
    owned: Span,
    span: Span,
    tables: Tables,
    pending: &mut Pending<M>,
) -> Result<(), Error> {
    uncut(machine, span)?;
    unmap_in::<O, L4, M>(NodeRef::root(machine), span, owned, tables, pending);
    Ok(())
}

/// Takes the leaf of a 4 KiB page out of its table, if there is one.
#[inline]
pub(crate) fn unmap_page<O: Ownership, M: Machine>(
    node: NodeRef<'_, O, L1, M>,
    owned: Span,
    page: Span,
    pending: &mut Pending<M>,
) {
    let index = NodeRef::<O, L1, M>::index(page.start);
    let entry = node.entry(index);
    if entry.is_present() {
        take_leaf(node, index, entry, page, owned, pending);
        pending.owe(page, PAGE_LEN);
    }
}

/// Refuses a range one of whose edges lies inside a large leaf.
#[inline(never)]
pub(crate) fn uncut<M: Machine>(machine: &M, span: Span) -> Result<(), Error> {
    match View::root(machine).cut_leaf(span) {
        Some(leaf) => Err(Error::CutsLeaf { range: span.range(), leaf: leaf.range() }),
        None => Ok(()),
    }
}

/// Takes out one leaf.
#[inline]
fn take_leaf<O: Ownership, L: Level, M: Machine>(
    node: NodeRef<'_, O, L, M>,
    index: usize,
    entry: Entry,
    block: Span,
    owned: Span,
    pending: &mut Pending<M>,
) {
    if needs_drop::<O::Leaf<L::Size, M>>() {
        node.set(index, entry.detached());
        pending.owe_entries(L::NUMBER);
    } else {
        node.set(index, Entry::ABSENT);
        node.sub_live(block.start, owned, 1);
    }
}

#[inline(never)]
fn unmap_in<O: Ownership, L: Level, M: Machine>(
    node: NodeRef<'_, O, L, M>,
    part: Span,
    owned: Span,
    tables: Tables,
    pending: &mut Pending<M>,
) {
    if L::NUMBER < L4::NUMBER && node.live() == 0 {
        return;
    }
    if L::NUMBER == 1 {
        return unmap_leaves(node, part, owned, pending);
    }
    for (index, within) in NodeRef::<O, L, M>::parts(part) {
        let entry = node.entry(index);
        match entry.kind(L::NUMBER) {
            EntryKind::Leaf => {
                take_leaf(node, index, entry, within, owned, pending);
                pending.owe(within, <L::Size as PageSize>::LEN_BYTES);
            }
            EntryKind::Node
                if tables.takes_below(L::NUMBER) && within == NodeRef::<O, L, M>::block(within.start) =>
            {
                // It stays counted until the release, and what it holds is known by its type then.
                node.set(index, entry.detached());
                pending.owe(within, PAGE_LEN);
                pending.owe_entries(L::NUMBER);
            }
            EntryKind::Node => unmap_in(node.child(entry), within, owned, tables, pending),
            _ => {}
        }
    }
}

/// All leaves of a part of a table of the last level.
fn unmap_leaves<O: Ownership, L: Level, M: Machine>(
    node: NodeRef<'_, O, L, M>,
    part: Span,
    owned: Span,
    pending: &mut Pending<M>,
) {
    let indices = NodeRef::<O, L, M>::indices(part);
    let keeps = needs_drop::<O::Leaf<L::Size, M>>();
    let mut taken = 0;
    if !keeps && indices.len() == ENTRIES && node.live() == ENTRIES as u64 {
        node.clear(indices);
        taken = ENTRIES as u64;
    } else {
        for index in indices {
            let entry = node.entry(index);
            if entry.is_present() {
                node.set(index, if keeps { entry.detached() } else { Entry::ABSENT });
                taken += 1;
            }
        }
    }
    if taken > 0 {
        pending.owe(part, PAGE_LEN);
        if keeps {
            pending.owe_entries(L::NUMBER);
        } else {
            node.sub_live(part.start, owned, taken);
        }
    }
}
