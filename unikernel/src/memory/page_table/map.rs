//! Mapping: all that can fail is done before the first store.

use super::attributes::Attributes;
use super::entry::Entry;
use super::error::{Error, Rejected};
use super::level::{L2, LeafLevel, LeafSize, Level};
use super::machine::Machine;
use super::node::Node;
use super::node_ref::NodeRef;
use super::ownership::{Backing, LeafRun, Ownership};
use super::reserve::NodeReserve;
use super::span::{Span, VirtRange, canonical};
use super::view::{Obstacle, View};
use crate::memory::address::VirtAddr;
use crate::memory::frame::FrameBatch;
use crate::memory::page_size::{PageSize, Size1GiB, Size4KiB};
use core::ops::Range;

/// Frames that the caller of an operation brings for its tables. None: they come from the allocator.
pub(crate) type Brought<'b, M> = Option<&'b mut FrameBatch<Size4KiB, M>>;

/// Maps all of `backing` from `at` on, by leaves of size `S`, where the caller owns `owned`.
#[inline]
pub(crate) fn map<O: Ownership, S: LeafSize, M: Machine, B: Backing<O, S, M>>(
    machine: &M,
    owned: Span,
    at: VirtAddr,
    backing: B,
    attributes: O::Attributes,
    tables: Brought<'_, M>,
) -> Result<(), Rejected<B>> {
    let range = VirtRange::new(at, backing.count().saturating_mul(S::LEN_BYTES));
    let span = match check::<S, M>(machine, owned, range) {
        Ok(span) => span,
        Err(error) => return Err(Rejected::new(error, backing)),
    };
    if !backing.is_of(machine) {
        return Err(Rejected::new(Error::ForeignBacking { range }, backing));
    }
    if backing.count() == 1 {
        return map_one::<O, S, M, B>(machine, owned, span, backing, attributes, tables);
    }
    map_range::<O, S, M, B>(machine, owned, span, backing, attributes, tables)
}

fn check<S: LeafSize, M: Machine>(machine: &M, owned: Span, range: VirtRange) -> Result<Span, Error> {
    let span = Span::check(range, S::LEN_BYTES)?;
    if !owned.contains(span) {
        return Err(Error::OutsideRange { range, owned: owned.range() });
    }
    takes_leaves_of(machine, range, S::LEN_BYTES)?;
    Ok(span)
}

/// Whether the host takes leaves of this size.
pub(crate) fn takes_leaves_of<M: Machine>(
    machine: &M,
    range: VirtRange,
    leaf_bytes: u64,
) -> Result<(), Error> {
    if leaf_bytes == Size1GiB::LEN_BYTES && !machine.paging().one_gib_leaves {
        return Err(Error::UnsupportedSize { range, leaf_bytes });
    }
    Ok(())
}

/// One leaf: one walk, if its table exists.
#[inline]
fn map_one<O: Ownership, S: LeafSize, M: Machine, B: Backing<O, S, M>>(
    machine: &M,
    owned: Span,
    page: Span,
    backing: B,
    attributes: O::Attributes,
    tables: Brought<'_, M>,
) -> Result<(), Rejected<B>> {
    // SAFETY: the page lies in the caller's range of kind `O`.
    match unsafe { S::Level::find::<O, M>(machine, page.start) } {
        Some(node) => map_in_table(node, owned, page, backing, attributes),
        None => map_in_new_table::<O, S, M, B>(machine, owned, page, backing, attributes, tables),
    }
}

/// One leaf, whose table is missing: by a shorter way if no other is, and nobody else can make it.
#[inline(never)]
fn map_in_new_table<O: Ownership, S: LeafSize, M: Machine, B: Backing<O, S, M>>(
    machine: &M,
    owned: Span,
    page: Span,
    backing: B,
    attributes: O::Attributes,
    tables: Brought<'_, M>,
) -> Result<(), Rejected<B>> {
    // SAFETY: the page lies in the caller's range of kind `O`.
    let parent = unsafe { <S::Level as LeafLevel>::Parent::find::<O, M>(machine, page.start) };
    let parent = parent.filter(|parent| {
        let entry = parent.entry(NodeRef::<O, <S::Level as LeafLevel>::Parent, M>::index(page.start));
        owned.contains(NodeRef::<O, S::Level, M>::extent(page.start)) && entry.is_absent()
    });
    let Some(parent) = parent else {
        return map_range::<O, S, M, B>(machine, owned, page, backing, attributes, tables);
    };
    let frame = match NodeReserve::new(*machine, page.range(), 1, tables) {
        Ok(mut reserve) => reserve.take(),
        Err(error) => return Err(Rejected::new(error, backing)),
    };
    let index = NodeRef::<O, S::Level, M>::index(page.start);
    let node = Node::<O, S::Level, M>::with_room(frame, index..index + 1);
    node.as_ref().put(index, backing.take(1).0, attributes.to_bits());
    parent.link(page.start, owned, node);
    Ok(())
}

/// One leaf, into a table that exists.
#[inline]
pub(crate) fn map_in_table<O: Ownership, S: LeafSize, M: Machine, B: Backing<O, S, M>>(
    node: NodeRef<'_, O, S::Level, M>,
    owned: Span,
    page: Span,
    backing: B,
    attributes: O::Attributes,
) -> Result<(), Rejected<B>> {
    let index = NodeRef::<O, S::Level, M>::index(page.start);
    let entry = node.entry(index);
    if !entry.is_absent() {
        return Err(Rejected::new(occupied(node.view(), entry, page), backing));
    }
    node.put(index, backing.take(1).0, attributes.to_bits());
    node.add_live(page.start, owned, 1);
    Ok(())
}

/// Why nothing can be mapped where this entry is.
#[cold]
#[inline(never)]
fn occupied<M: Machine>(table: View<'_, M>, entry: Entry, page: Span) -> Error {
    table.obstacle(entry, page).error(page.range())
}

/// Any number of leaves, with the tables that are missing.
#[inline(never)]
fn map_range<O: Ownership, S: LeafSize, M: Machine, B: Backing<O, S, M>>(
    machine: &M,
    owned: Span,
    span: Span,
    backing: B,
    attributes: O::Attributes,
    tables: Brought<'_, M>,
) -> Result<(), Rejected<B>> {
    let mut reserve = match survey(machine, span, S::Level::NUMBER, tables) {
        Ok(reserve) => reserve,
        Err(error) => return Err(Rejected::new(error, backing)),
    };
    let bits = attributes.to_bits();
    let mut supply = Supply { rest: Some(backing), of: core::marker::PhantomData };
    let mut rest = span;
    while !rest.is_empty() {
        let part = NodeRef::<O, S::Level, M>::extent(rest.start).intersection(rest);
        fill_table::<O, S, M, B>(machine, owned, part, &mut supply, bits, &mut reserve);
        rest.start = part.end;
    }
    Ok(())
}

/// Makes the tables down to level 2 that translate `owned`.
#[inline(never)]
pub(crate) fn build_tables<O: Ownership, M: Machine>(machine: &M, owned: Span) -> Result<(), Error> {
    let mut reserve = survey(machine, owned, L2::NUMBER, None)?;
    let mut at = owned.start;
    while at < owned.end {
        NodeRef::<O, L2, M>::reach(machine, at, owned, &mut reserve);
        at = NodeRef::<O, L2, M>::extent(at).end;
    }
    Ok(())
}

/// Sees to it that nothing is in the way of leaves of this level in `span`, and that there are frames for the tables that are
/// missing.
#[inline(never)]
fn survey<'b, M: Machine>(
    machine: &M,
    span: Span,
    level: u8,
    tables: Brought<'b, M>,
) -> Result<NodeReserve<'b, M>, Error> {
    let range = span.range();
    let missing =
        View::root(machine).missing_tables(span, level).map_err(|obstacle| obstacle.error(range))?;
    NodeReserve::new(*machine, range, missing, tables)
}

impl Obstacle {
    pub(crate) fn error(self, range: VirtRange) -> Error {
        match self {
            Self::Leaf(at) => Error::AlreadyMapped { range, at: canonical(at) },
            Self::EmptyTable(at) => Error::TableKept { range, at: canonical(at) },
        }
    }
}

/// Writes the leaves of one table, which is made if it is missing.
#[inline]
fn fill_table<O: Ownership, S: LeafSize, M: Machine, B: Backing<O, S, M>>(
    machine: &M,
    owned: Span,
    part: Span,
    supply: &mut Supply<O, S, M, B>,
    attributes: u64,
    reserve: &mut NodeReserve<'_, M>,
) {
    let parent = NodeRef::<O, <S::Level as LeafLevel>::Parent, M>::reach(machine, part.start, owned, reserve);
    let indices = NodeRef::<O, S::Level, M>::indices(part);
    let count = indices.len() as u64;
    let extent = NodeRef::<O, S::Level, M>::extent(part.start);
    // A table that nobody else can reach is filled before it is linked, and only what is not filled is cleared.
    let is_new = owned.contains(extent) && parent.child_at(part.start).is_none();
    let new = is_new.then(|| Node::<O, S::Level, M>::with_room(reserve.take(), indices.clone()));
    let node = match &new {
        Some(node) => node.as_ref(),
        None => NodeRef::<O, S::Level, M>::reach(machine, part.start, owned, reserve),
    };
    supply.fill(node, indices, attributes);
    match new {
        Some(node) => parent.link(part.start, owned, node),
        None => node.add_live(part.start, owned, count),
    }
}

/// The backing, run by run.
struct Supply<O, S, M, B> {
    rest: Option<B>,
    of: core::marker::PhantomData<(O, S, M)>,
}

impl<O: Ownership, S: LeafSize, M: Machine, B: Backing<O, S, M>> Supply<O, S, M, B> {
    #[inline]
    fn fill(&mut self, node: NodeRef<'_, O, S::Level, M>, indices: Range<usize>, attributes: u64) {
        let mut index = indices.start;
        while index < indices.end {
            let Some(backing) = self.rest.take() else { unreachable!("the range is as long as its backing") };
            let (run, rest) = backing.take((indices.end - index) as u64);
            let next = index + run.count() as usize;
            self.rest = rest;
            node.fill(index, run, attributes);
            index = next;
        }
    }
}
