//! Looking things up, without changing anything.

use super::attributes::Attributes;
use super::entry::{Entry, EntryKind};
use super::level::{L1, L2, L4, Level};
use super::machine::Machine;
use super::node_ref::NodeRef;
use super::ownership::Ownership;
use super::span::{Span, VirtRange};
use super::view::View;
use crate::memory::address::PhysAddr;
use core::fmt;
use core::marker::PhantomData;

/// One leaf, as it is mapped.
pub struct Mapping<O: Ownership> {
    /// The addresses it translates: as many bytes as its size.
    pub range: VirtRange,
    /// The physical address of its start.
    pub phys: PhysAddr,
    /// What it allows, and how it is cached.
    pub attributes: O::Attributes,
}

// By hand, since the derived ones would ask the same of the kind.
impl<O: Ownership> Clone for Mapping<O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O: Ownership> Copy for Mapping<O> {}

impl<O: Ownership> PartialEq for Mapping<O> {
    fn eq(&self, other: &Self) -> bool {
        (self.range, self.phys, self.attributes) == (other.range, other.phys, other.attributes)
    }
}

impl<O: Ownership> Eq for Mapping<O> {}

impl<O: Ownership> fmt::Debug for Mapping<O> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { range, phys, attributes } = self;
        write!(formatter, "{}: {range} to {phys}, {attributes:?}", O::KIND)
    }
}

/// A leaf that was found.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) block: Span,
    pub(crate) phys: PhysAddr,
    pub(crate) attributes: u64,
}

impl Found {
    #[inline]
    const fn new(entry: Entry, level: u8, block: Span) -> Self {
        Self { block, phys: entry.leaf_phys(level), attributes: entry.attributes(level) }
    }

    pub(crate) fn mapping<O: Ownership>(self) -> Mapping<O> {
        let attributes = O::Attributes::from_bits(self.attributes);
        Mapping { range: self.block.range(), phys: self.phys, attributes }
    }
}

/// The live leaf that translates `address`.
#[inline(always)]
pub(crate) fn leaf_at<O: Ownership, M: Machine>(machine: &M, address: u64) -> Option<Found> {
    leaf_in::<O, L4, M>(NodeRef::root(machine), address)
}

#[inline(always)]
fn leaf_in<O: Ownership, L: Level, M: Machine>(node: NodeRef<'_, O, L, M>, address: u64) -> Option<Found> {
    let entry = node.entry(NodeRef::<O, L, M>::index(address));
    if entry.leads_on(L::NUMBER) {
        return leaf_in::<O, L::Child, M>(node.child(entry), address);
    }
    let block = NodeRef::<O, L, M>::block(address);
    (entry.kind(L::NUMBER) == EntryKind::Leaf).then(|| Found::new(entry, L::NUMBER, block))
}

/// The live leaves of a range, in ascending order.
pub struct Leaves<'m, O: Ownership, M: Machine> {
    walk: Walk<'m, M>,
    kind: PhantomData<O>,
}

/// The walk over them, for which the kind does not matter.
struct Walk<'m, M: Machine> {
    root: View<'m, M>,
    rest: Span,
    /// The table of the last level that the last leaf came from, with what it translates.
    last: Option<(Span, View<'m, M>)>,
}

impl<'m, O: Ownership, M: Machine> Leaves<'m, O, M> {
    pub(crate) fn new(machine: &'m M, span: Span) -> Self {
        Self { walk: Walk { root: View::root(machine), rest: span, last: None }, kind: PhantomData }
    }
}

impl<M: Machine> Walk<'_, M> {
    fn next(&mut self) -> Option<Found> {
        while !self.rest.is_empty() {
            let at = self.rest.start;
            let near = self.last.filter(|(extent, _)| extent.contains(Span::page(at)));
            let (view, entry) = near.map_or(self.root, |(_, view)| view).down_to(at, L1::NUMBER);
            let block = view.block(at);
            if view.level() == L1::NUMBER {
                self.last = Some((Span::block(at, L2::SHIFT), view));
            }
            self.rest.start = block.end;
            if entry.kind(view.level()) == EntryKind::Leaf {
                return Some(Found::new(entry, view.level(), block));
            }
        }
        None
    }
}

impl<O: Ownership, M: Machine> Iterator for Leaves<'_, O, M> {
    type Item = Mapping<O>;

    fn next(&mut self) -> Option<Mapping<O>> {
        self.walk.next().map(Found::mapping)
    }
}
