//! Putting what was taken out of one range into another: mappings move, and the bytes that they map stay.
//!
//! Leaves of 2 MiB and whole tables of the last level move, each by its entry in a table of level 2. That entry is all that
//! changes: of a table that moves nothing is written, and its count stays right. The types of what is taken back and of what is
//! put in are those of the two entries, so that nothing can end up as something else.

use super::entry::{Entry, EntryKind};
use super::error::Error;
use super::level::{L1, L2, L3, L4, Level};
use super::machine::Machine;
use super::map::Brought;
use super::node::Node;
use super::node_ref::NodeRef;
use super::ownership::{Leaf, Tracked};
use super::pending::Pending;
use super::reserve::NodeReserve;
use super::span::Span;
use super::view::View;
use crate::memory::address::PhysAddr;
use crate::memory::frame::Frame;
use crate::memory::page_size::{PageSize, Size2MiB};

/// What one of the entries that move translates.
const UNIT: u64 = Size2MiB::LEN_BYTES;

/// Sees to it that what `pending` holds of `source` can move to `target`, and that there are frames for the tables that are
/// missing there.
#[inline(never)]
pub(crate) fn survey<'b, M: Machine>(
    machine: &M,
    pending: &Pending<M>,
    source: Span,
    target: Span,
    tables: Brought<'b, M>,
) -> Result<NodeReserve<'b, M>, Error> {
    let range = target.range();
    for span in [source, target] {
        Span::check(span.range(), UNIT)?;
    }
    if source.len_bytes() != target.len_bytes() {
        return Err(Error::OtherLength { range, source: source.range() });
    }
    if !pending.is_all_of_level(L2::NUMBER) {
        return Err(Error::NotMovable { range: source.range() });
    }
    let mut missing = Missing { count: 0, last: [None; 2] };
    for (at, ..) in Entries::of(machine, pending) {
        let block = Span::block(at - source.start + target.start, L2::SHIFT);
        let (view, entry) = View::root(machine).down_to(block.start, L2::NUMBER);
        if !entry.is_absent() {
            return Err(view.obstacle(entry, block).error(range));
        }
        missing.note(view.level(), block.start);
    }
    NodeReserve::new(*machine, range, missing.count, tables)
}

/// Tables that are missing, told by ascending addresses.
struct Missing {
    count: u64,
    /// What the last ones translate, of level 2 and of level 3.
    last: [Option<Span>; 2],
}

impl Missing {
    /// For `address` there are tables down to this level only, and one of level 2 is wanted.
    fn note(&mut self, level: u8, address: u64) {
        for (last, above, shift) in [(0, L3::NUMBER, L3::SHIFT), (1, L4::NUMBER, L4::SHIFT)] {
            let extent = Some(Span::block(address, shift));
            if level >= above && self.last[last] != extent {
                self.last[last] = extent;
                self.count += 1;
            }
        }
    }
}

/// Moves it, each entry to the same offset from the start of the range.
///
/// # Safety
/// 1. What is detached in the source has been flushed, and the caller owns both ranges, which are of kind [`Tracked`].
/// 2. `reserve` comes from [`survey`] of the same, and nothing has changed since.
#[inline(never)]
pub(crate) unsafe fn relocate<M: Machine>(
    machine: &M,
    pending: &Pending<M>,
    source: Span,
    target: Span,
    reserve: &mut NodeReserve<'_, M>,
) {
    for (at, table, entry) in Entries::of(machine, pending) {
        // SAFETY: it was found at level 2 on the way to a block of the source, which by 1 is the caller's, and `Tracked`.
        let from = unsafe { NodeRef::<Tracked, L2, M>::at(machine, table) };
        let to_at = at - source.start + target.start;
        let to = NodeRef::<Tracked, L2, M>::reach(machine, to_at, target, reserve);
        from.set(NodeRef::<Tracked, L2, M>::index(at), Entry::ABSENT);
        from.sub_live(at, source, 1);
        if entry.kind(L2::NUMBER) == EntryKind::DetachedLeaf {
            let phys = entry.leaf_phys(L2::NUMBER);
            // SAFETY: the leaf was given over to the entry, which is gone; by 1 it was flushed.
            let leaf = unsafe { Frame::<Size2MiB, M>::from_phys(*machine, phys) };
            to.put(NodeRef::<Tracked, L2, M>::index(to_at), leaf.into(), entry.attributes(L2::NUMBER));
            to.add_live(to_at, target, 1);
        } else {
            // SAFETY: likewise, for a table of the next level.
            let node = unsafe { Node::<Tracked, L1, M>::from_entry(*machine, entry) };
            to.link(to_at, target, node);
        }
    }
}

/// The detached entries of tables of level 2, in ascending order: what each translates from, the table that it is in, and itself.
struct Entries<'m, M: Machine> {
    root: View<'m, M>,
    rest: Span,
}

impl<'m, M: Machine> Entries<'m, M> {
    fn of(machine: &'m M, pending: &Pending<M>) -> Self {
        let rest = pending.detached_entries().unwrap_or(Span { start: 0, end: 0 });
        Self { root: View::root(machine), rest }
    }
}

impl<M: Machine> Iterator for Entries<'_, M> {
    type Item = (u64, PhysAddr, Entry);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (view, entry) = self.root.down_to(self.rest.start, L2::NUMBER);
            let block = view.block(self.rest.start);
            self.rest.start = block.end;
            let is_detached =
                matches!(entry.kind(L2::NUMBER), EntryKind::DetachedLeaf | EntryKind::DetachedNode);
            if view.level() == L2::NUMBER && is_detached {
                return Some((block.start, view.table(), entry));
            }
        }
        None
    }
}
