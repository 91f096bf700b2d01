//! What is mapped in one kind, and which tables there are for it.

use super::block::Block;
use super::rights::Rights;
use crate::size::{PARTS, Size};
use std::collections::{BTreeMap, BTreeSet};
use unikernel::memory::address::VirtAddr;
use unikernel::memory::audit::TableCounts;
use unikernel::memory::kind::Kind;
use unikernel::memory::page_table::LeafCounts;

/// What one leaf maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) size: Size,
    pub(crate) phys: u64,
    pub(crate) rights: Rights,
}

/// An entry that was taken out, and awaits a flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dead {
    /// Of a leaf that owns its memory.
    Leaf(Leaf),
    /// Of a table that translates so many bytes, with how many there were of what, by level, and the leaves that were live.
    Table { len_bytes: u64, tables: [u64; 3], leaves: [u64; 3], live: Vec<(u64, Leaf)> },
}

/// All of one kind. Keys are addresses of 48 bits.
#[derive(Debug)]
pub(crate) struct Tree {
    kind: Kind,
    pub(crate) leaves: BTreeMap<u64, Leaf>,
    pub(crate) dead: BTreeMap<u64, Dead>,
    /// Where tables start, by the size of their leaves.
    pub(crate) tables: [BTreeSet<u64>; 3],
}

impl Tree {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, leaves: BTreeMap::new(), dead: BTreeMap::new(), tables: [const { BTreeSet::new() }; 3] }
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether leaves own their memory.
    pub(crate) fn owns(&self) -> bool {
        self.kind == Kind::Tracked
    }

    /// The leaf that translates an address, with where it starts.
    pub(crate) fn leaf_over(&self, address: u64) -> Option<(u64, &Leaf)> {
        let (start, leaf) = self.leaves.range(..=address).next_back()?;
        (address < start + leaf.size.len_bytes()).then_some((*start, leaf))
    }

    /// All leaves that translate an address of the block.
    pub(crate) fn leaves_in(&self, block: Block) -> impl Iterator<Item = (u64, &Leaf)> {
        let first = self.leaf_over(block.start).map_or(block.start, |(start, _)| start);
        self.leaves.range(first..block.end.max(first)).map(|(start, leaf)| (*start, leaf))
    }

    /// How many leaves translate an address of the block.
    pub(crate) fn leaf_counts(&self, block: Block) -> LeafCounts {
        let count = |size| self.leaves_in(block).filter(|(_, leaf)| leaf.size == size).count() as u64;
        LeafCounts { small: count(Size::Small), large: count(Size::Large), huge: count(Size::Huge) }
    }

    /// Where tables in the block start that are full of leaves of this size.
    pub(crate) fn full_tables_in(&self, block: Block, size: Size) -> Vec<VirtAddr> {
        let extents = self.tables[size.index()].range(block.start..block.end);
        extents
            .map(|start| Block::new(*start, size.table_len_bytes()))
            .filter(|extent| {
                self.leaves_in(*extent).filter(|(_, leaf)| leaf.size == size).count() as u64 == PARTS
            })
            .map(|extent| extent.range().start)
            .collect()
    }

    /// Where what awaits a flush in the block starts.
    pub(crate) fn dead_in(&self, block: Block) -> Vec<u64> {
        self.dead.range(block.start..block.end).map(|(start, _)| *start).collect()
    }

    /// Takes a table with all that is in it out of the maps.
    pub(crate) fn take_table(&mut self, start: u64, len_bytes: u64) -> Dead {
        let extent = Block::new(start, len_bytes);
        let (mut tables, mut leaves) = ([0; 3], [0; 3]);
        for size in Size::ALL.into_iter().filter(|size| size.table_len_bytes() <= len_bytes) {
            let of_size = &mut self.tables[size.index()];
            let before = of_size.len();
            of_size.retain(|start| !(extent.start..extent.end).contains(start));
            tables[size.index()] += (before - of_size.len()) as u64;
        }
        let inside: Vec<u64> = self.leaves_in(extent).map(|(start, _)| start).collect();
        let live: Vec<(u64, Leaf)> =
            inside.iter().filter_map(|start| Some((*start, self.leaves.remove(start)?))).collect();
        for (_, leaf) in &live {
            leaves[leaf.size.index()] += 1;
        }
        for dead in self.dead_in(extent).iter().filter_map(|start| self.dead.remove(start)) {
            match dead {
                Dead::Leaf(leaf) => leaves[leaf.size.index()] += 1,
                Dead::Table { tables: more_tables, leaves: more_leaves, .. } => {
                    for index in 0..3 {
                        tables[index] += more_tables[index];
                        leaves[index] += more_leaves[index];
                    }
                }
            }
        }
        Dead::Table { len_bytes, tables, leaves, live }
    }

    /// What an audit must count.
    pub(crate) fn counts(&self) -> TableCounts {
        let mut counts = TableCounts {
            tables: [0, 1, 2].map(|index| self.tables[index].len() as u64),
            ..TableCounts::default()
        };
        for leaf in self.leaves.values() {
            counts.leaves[leaf.size.index()] += 1;
        }
        for dead in self.dead.values() {
            match dead {
                Dead::Leaf(leaf) => counts.detached_leaves[leaf.size.index()] += 1,
                Dead::Table { tables, leaves, .. } => {
                    for index in 0..3 {
                        counts.detached_tables[index] += tables[index];
                        counts.detached_leaves[index] += leaves[index];
                    }
                }
            }
        }
        counts
    }

    /// Frames of tables.
    pub(crate) fn table_frames(&self) -> u64 {
        let counts = self.counts();
        counts.tables.iter().chain(&counts.detached_tables).sum()
    }

    /// Frames that leaves own, those that await a flush included.
    pub(crate) fn heap_frames(&self) -> u64 {
        if !self.owns() {
            return 0;
        }
        let counts = self.counts();
        let frames = |leaves: [u64; 3]| -> u64 {
            Size::ALL.iter().map(|size| leaves[size.index()] * size.frames()).sum()
        };
        frames(counts.leaves) + frames(counts.detached_leaves)
    }
}
