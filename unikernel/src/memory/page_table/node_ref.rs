//! A live table, seen from inside an operation.
//!
//! A [`NodeRef`] has the kind and level of its table in its type, and hands out children and leaves of just those. What may
//! be changed through it is said by the protocol in [`super`]: callers pass `owned`, the span of the range they own, and
//! what lies inside of it whole is theirs alone.

use super::entry::{Entry, EntryKind};
use super::level::{ENTRIES, L4, LeafLevel, Level};
use super::link;
use super::machine::{EntryCell, Machine};
use super::node::Node;
use super::ownership::{LeafRun, Ownership};
use super::reserve::NodeReserve;
use super::span::Span;
use super::view::View;
use crate::memory::address::PhysAddr;
use crate::memory::atomic::Ordering;
use crate::memory::page_size::PageSize;
use core::marker::PhantomData;
use core::ops::Range;
use x86::bits64::paging::PTFlags;

/// A live table of ownership kind `O` at level `L`.
pub struct NodeRef<'m, O, L, M: Machine> {
    cells: &'m [M::Cell; ENTRIES],
    table: PhysAddr,
    machine: &'m M,
    type_of: PhantomData<(O, L)>,
}

impl<O, L, M: Machine> Clone for NodeRef<'_, O, L, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O, L, M: Machine> Copy for NodeRef<'_, O, L, M> {}

impl<'m, O: Ownership, M: Machine> NodeRef<'m, O, L4, M> {
    /// The root of the machine's address space, of which kind `O` touches its own slots only.
    #[inline]
    pub(crate) fn root(machine: &'m M) -> Self {
        // SAFETY: the address space holds a root for as long as it exists.
        unsafe { Self::at(machine, machine.space().root()) }
    }
}

impl<'m, O: Ownership, L: Level, M: Machine> NodeRef<'m, O, L, M> {
    /// The table in a frame.
    ///
    /// # Safety
    /// The frame is a table of this kind and level, live, or owned by the caller.
    #[inline]
    pub(crate) unsafe fn at(machine: &'m M, table: PhysAddr) -> Self {
        // SAFETY: by the caller's promise it is a table.
        let cells = unsafe { machine.table(table) };
        Self { cells, table, machine, type_of: PhantomData }
    }

    #[inline]
    pub(crate) const fn machine(self) -> &'m M {
        self.machine
    }

    /// Where the table lies.
    #[inline]
    pub(crate) const fn table(self) -> PhysAddr {
        self.table
    }

    /// The same, for who only reads.
    #[inline]
    pub(crate) fn view(self) -> View<'m, M> {
        // SAFETY: it is a table of this level, live or owned for as long as this reference.
        unsafe { View::at(self.machine, self.table, L::NUMBER) }
    }

    /// Index of the entry that translates `address`.
    #[inline]
    pub(crate) const fn index(address: u64) -> usize {
        (address >> L::SHIFT) as usize % ENTRIES
    }

    /// Indices of the entries that translate `part`, which lies inside of what the table translates.
    #[inline]
    pub(crate) const fn indices(part: Span) -> Range<usize> {
        Self::index(part.start)..Self::index(part.end - 1) + 1
    }

    /// What a whole table of this level translates around `address`.
    #[inline]
    pub(crate) const fn extent(address: u64) -> Span {
        Span::block(address, L::SHIFT + 9)
    }

    /// What one entry of this level translates around `address`.
    #[inline]
    pub(crate) const fn block(address: u64) -> Span {
        Span::block(address, L::SHIFT)
    }

    /// Each entry's index that `part` touches, with what of `part` it translates.
    #[inline]
    pub(crate) fn parts(part: Span) -> impl Iterator<Item = (usize, Span)> {
        let first = part.start >> L::SHIFT;
        Self::indices(part).map(move |index| {
            let block = first + (index - Self::index(part.start)) as u64;
            (index, Self::block(block << L::SHIFT).intersection(part))
        })
    }

    /// The entry at `index`. Acquire, with the Release of [`NodeRef::set`]: a table that it leads to is seen as it was
    /// linked.
    #[inline]
    pub(crate) fn entry(self, index: usize) -> Entry {
        Entry::from_bits(self.cells[index].load(Ordering::Acquire))
    }

    /// Changes an entry that is the caller's alone.
    #[inline]
    pub(crate) fn set(self, index: usize, entry: Entry) {
        self.cells[index].store(entry.bits(), Ordering::Release);
    }

    /// The user bit of this machine's entries.
    #[inline]
    pub(crate) fn user(self) -> u64 {
        if self.machine.paging().user { PTFlags::US.bits() } else { 0 }
    }

    /// The table that a live entry of the kind [`EntryKind::Node`] leads to.
    #[inline]
    pub(crate) fn child(self, entry: Entry) -> NodeRef<'m, O, L::Child, M> {
        debug_assert_eq!(entry.kind(L::NUMBER), EntryKind::Node);
        // SAFETY: the core links tables below tables of their own kind and the level above only, by `Node::into_entry` of
        // the type that fits; and none that the caller's range reaches is unlinked by anybody else.
        unsafe { NodeRef::at(self.machine, entry.table()) }
    }

    /// The table below that translates `address`, if there is one.
    #[inline]
    pub(crate) fn child_at(self, address: u64) -> Option<NodeRef<'m, O, L::Child, M>> {
        let entry = self.entry(Self::index(address));
        (entry.kind(L::NUMBER) == EntryKind::Node).then(|| self.child(entry))
    }

    /// The table of this kind and level that translates `address`, with those above it made from the reserve where there are
    /// none. Survey first.
    #[inline]
    pub(crate) fn reach(machine: &'m M, address: u64, owned: Span, reserve: &mut NodeReserve<'_, M>) -> Self {
        let table = link::reach(machine, address, L::NUMBER, O::KIND, owned, reserve);
        // SAFETY: below the root slots of kind `O` all tables are of kind `O`, and this one is of level `L`.
        unsafe { Self::at(machine, table) }
    }

    /// Links a table, which was never seen by the hardware, into an absent entry that is the caller's alone.
    #[inline]
    pub(crate) fn link(self, address: u64, owned: Span, node: Node<O, L::Child, M>) {
        self.set(Self::index(address), node.into_entry(self.user()));
        self.add_live(address, owned, 1);
    }

    /// How many entries are not absent. Exact where the caller owns the whole extent; else at least what is the caller's.
    #[inline]
    pub(crate) fn live(self) -> u64 {
        self.machine.frames().word(self.table.frame_number()).load(Ordering::Relaxed)
    }

    /// Counts entries that are no more absent.
    #[inline]
    pub(crate) fn add_live(self, address: u64, owned: Span, count: u64) {
        // The root is never given back, hence not counted.
        if L::NUMBER < L4::NUMBER {
            link::change_live(self.machine, self.table, owned.contains(Self::extent(address)), count);
        }
    }

    /// Counts entries that are absent again.
    #[inline]
    pub(crate) fn sub_live(self, address: u64, owned: Span, count: u64) {
        self.add_live(address, owned, count.wrapping_neg());
    }

    pub(crate) fn set_live(self, count: u64) {
        self.machine.frames().word(self.table.frame_number()).store(count, Ordering::Relaxed);
    }

    /// Makes entries absent, without counting.
    #[inline]
    pub(crate) fn clear(self, indices: Range<usize>) {
        link::clear(&self.cells[indices]);
    }
}

impl<O: Ownership, L: LeafLevel, M: Machine> NodeRef<'_, O, L, M> {
    /// Writes a run of leaves from `first` on, without counting them.
    #[inline]
    pub(crate) fn fill(self, first: usize, run: O::Run<L::Size, M>, attributes: u64) {
        let cells = &self.cells[first..first + run.count() as usize];
        let bits = Entry::leaf::<L>(run.into_phys(), attributes, self.user()).bits();
        link::write_leaves(cells, bits, <L::Size as PageSize>::LEN_BYTES);
    }

    /// Writes a run of one leaf, without counting it.
    #[inline]
    pub(crate) fn put(self, index: usize, run: O::Run<L::Size, M>, attributes: u64) {
        debug_assert_eq!(run.count(), 1);
        self.set(index, Entry::leaf::<L>(run.into_phys(), attributes, self.user()));
    }
}
