//! Tables for what does not depend on what they own: without kind and level in the type, so that one copy serves all.
//! A view hands out nothing that owns, and frees nothing. What it changes is attributes, and tables that hold nothing.

use super::entry::{Entry, EntryKind};
use super::error::Error;
use super::level::{ENTRIES, L1, L4, Level, shift};
use super::machine::{EntryCell, Machine};
use super::span::{Span, canonical};
use crate::memory::address::PhysAddr;
use crate::memory::atomic::Ordering;

/// A live table that some range of the caller's reaches.
pub(crate) struct View<'m, M: Machine> {
    cells: &'m [M::Cell; ENTRIES],
    table: PhysAddr,
    machine: &'m M,
    level: u8,
}

impl<M: Machine> Clone for View<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Machine> Copy for View<'_, M> {}

/// What is in the way of a mapping, and where.
pub(crate) enum Obstacle {
    Leaf(u64),
    EmptyTable(u64),
}

impl<'m, M: Machine> View<'m, M> {
    pub(crate) fn root(machine: &'m M) -> Self {
        // SAFETY: the address space holds a root for as long as it exists.
        unsafe { Self::at(machine, machine.space().root(), L4::NUMBER) }
    }

    /// # Safety
    /// The frame is a table of this level, which nobody takes out meanwhile.
    pub(crate) unsafe fn at(machine: &'m M, table: PhysAddr, level: u8) -> Self {
        // SAFETY: by the caller's promise it is a table.
        Self { cells: unsafe { machine.table(table) }, table, machine, level }
    }

    const fn shift(self) -> u32 {
        shift(self.level)
    }

    pub(crate) const fn table(self) -> PhysAddr {
        self.table
    }

    pub(crate) const fn level(self) -> u8 {
        self.level
    }

    fn entry(self, index: usize) -> Entry {
        Entry::from_bits(self.cells[index].load(Ordering::Acquire))
    }

    /// What one entry translates around `address`.
    pub(crate) const fn block(self, address: u64) -> Span {
        Span::block(address, self.shift())
    }

    /// Changes the entry that translates `address`, the caller's alone.
    pub(crate) fn set(self, address: u64, entry: Entry) {
        self.cells[self.index(address)].store(entry.bits(), Ordering::Release);
    }

    const fn index(self, address: u64) -> usize {
        (address >> self.shift()) as usize % ENTRIES
    }

    /// The table that an entry of the kind [`EntryKind::Node`] leads to.
    pub(crate) fn child(self, entry: Entry) -> Self {
        // SAFETY: the core links tables below those of the level above only, and none that the caller's range reaches is
        // taken out meanwhile.
        unsafe { Self::at(self.machine, entry.table(), self.level - 1) }
    }

    /// Whether the table has no entry that is not absent. Never so for the root, which is not counted.
    pub(crate) fn is_empty(self) -> bool {
        self.level < L4::NUMBER && self.live() == 0
    }

    /// How many entries of a table below the root are not absent. Exact where the caller owns all that it translates.
    pub(crate) fn live(self) -> u64 {
        self.machine.frames().word(self.table.frame_number()).load(Ordering::Relaxed)
    }

    /// Each entry that `part` touches, with what of `part` it translates.
    pub(crate) fn parts(self, part: Span) -> impl Iterator<Item = (Entry, Span)> {
        let shift = self.shift();
        (part.start >> shift..=(part.end - 1) >> shift).map(move |block| {
            let within = Span::block(block << shift, shift).intersection(part);
            (self.entry(block as usize % ENTRIES), within)
        })
    }

    /// The leaf that an edge of `span` cuts.
    pub(crate) fn cut_leaf(self, span: Span) -> Option<Span> {
        [span.start, span.end - 1].into_iter().find_map(|address| {
            let (view, entry) = self.down_to(address, L1::NUMBER);
            let block = view.block(address);
            (entry.kind(view.level) == EntryKind::Leaf && !span.contains(block)).then_some(block)
        })
    }

    /// Follows `address` down to level `lowest`, or to where no table leads on: the table there, and the entry.
    #[inline(never)]
    pub(crate) fn down_to(self, address: u64, lowest: u8) -> (Self, Entry) {
        let mut view = self;
        loop {
            let entry = view.entry(view.index(address));
            if view.level == lowest || entry.kind(view.level) != EntryKind::Node {
                return (view, entry);
            }
            view = view.child(entry);
        }
    }

    /// The first page of `part` whose entry is not absent.
    pub(crate) fn first_used(self, part: Span) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        self.parts(part).find_map(|(entry, within)| match entry.kind(self.level) {
            EntryKind::Absent => None,
            EntryKind::Node => self.child(entry).first_used(within),
            _ => Some(within.start),
        })
    }

    /// Whether the table holds nothing, or only tables that hold nothing.
    pub(crate) fn is_vacant(self) -> bool {
        self.is_empty()
            || (0..ENTRIES).all(|index| {
                let entry = self.entry(index);
                match entry.kind(self.level) {
                    EntryKind::Absent => true,
                    EntryKind::Node => self.child(entry).is_vacant(),
                    _ => false,
                }
            })
    }

    /// Checks that all entries are leaves side by side, with the same attributes, and that one leaf could map them in `block`:
    /// gives their start and attributes.
    pub(crate) fn alike(self, block: Span) -> Result<(PhysAddr, u64), Error> {
        let range = block.range();
        let first = self.entry(0);
        let (start, attributes) = (first.leaf_phys(self.level), first.attributes(self.level));
        for index in 0..ENTRIES {
            let offset = (index as u64) << self.shift();
            let at = canonical(block.start + offset);
            let entry = self.entry(index);
            if entry.kind(self.level) != EntryKind::Leaf {
                return Err(Error::Incomplete { range, at });
            }
            let phys = entry.leaf_phys(self.level);
            if phys.as_u64() != start.as_u64() + offset || !start.is_aligned(block.len_bytes()) {
                return Err(Error::NotContiguous { range, at, phys });
            }
            if entry.attributes(self.level) != attributes {
                return Err(Error::Unequal { range, at });
            }
        }
        Ok((start, attributes))
    }

    /// How many tables down to level `target` are missing for `part`, all of whose entries there must be absent.
    pub(crate) fn missing_tables(self, part: Span, target: u8) -> Result<u64, Obstacle> {
        if self.level == target && self.is_empty() {
            return Ok(0);
        }
        let mut missing = 0;
        for (entry, within) in self.parts(part) {
            match entry.kind(self.level) {
                EntryKind::Absent => {
                    // A table of each level from the target up to the next one below.
                    missing += (target..self.level).map(|level| within.blocks(shift(level + 1))).sum::<u64>();
                }
                EntryKind::Node if self.level > target => {
                    missing += self.child(entry).missing_tables(within, target)?
                }
                _ => return Err(self.obstacle(entry, within)),
            }
        }
        Ok(missing)
    }

    /// What an entry that is not absent holds for `within`, where a leaf shall be.
    #[cold]
    pub(crate) fn obstacle(self, entry: Entry, within: Span) -> Obstacle {
        if entry.kind(self.level) != EntryKind::Node {
            return Obstacle::Leaf(within.start);
        }
        match self.child(entry).first_used(within) {
            Some(at) => Obstacle::Leaf(at),
            None => Obstacle::EmptyTable(within.start),
        }
    }
}
