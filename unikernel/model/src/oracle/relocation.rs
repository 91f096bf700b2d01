//! What a move must do.

use super::Debt;
use super::block::{Block, address};
use super::mapping::frames_for_tables;
use super::tree::{Dead, Tree};
use crate::size::Size;
use std::collections::BTreeSet;
use unikernel::memory::page_table::Error;

/// What moves is a multiple of this.
const UNIT: u64 = Size::Large.len_bytes();

impl Tree {
    /// Moves what was taken out of `source` to `target`, with so many frames for tables.
    pub(crate) fn relocate(
        &mut self,
        source: Block,
        debt: &Debt,
        target: Block,
        frames: u64,
    ) -> Result<(), Error> {
        let range = target.range();
        Block::check(source.range(), UNIT)?;
        Block::check(range, UNIT)?;
        if source.end - source.start != target.end - target.start {
            return Err(Error::OtherLength { range, source: source.range() });
        }
        if debt.unmovable {
            return Err(Error::NotMovable { range: source.range() });
        }
        let moves = |from: u64| from - source.start + target.start;
        let dead = debt.hull.map_or_else(Vec::new, |hull| self.dead_in(hull));
        let mut missing = BTreeSet::new();
        for start in dead.iter().copied().map(moves) {
            if let Some((leaf, _)) = self.leaves_in(Block::new(start, UNIT)).next() {
                return Err(Error::AlreadyMapped { range, at: address(leaf.max(start)) });
            }
            if self.tables[Size::Small.index()].contains(&start) {
                return Err(Error::TableKept { range, at: address(start) });
            }
            for level in [Size::Large, Size::Huge] {
                let table = start / level.table_len_bytes() * level.table_len_bytes();
                if !self.tables[level.index()].contains(&table) {
                    missing.insert((level, table));
                }
            }
        }
        frames_for_tables(missing.len() as u64, frames, range)?;
        for (level, table) in missing {
            self.tables[level.index()].insert(table);
        }
        for start in dead {
            match self.dead.remove(&start) {
                Some(Dead::Leaf(leaf)) => {
                    self.leaves.insert(moves(start), leaf);
                }
                Some(Dead::Table { live, .. }) => {
                    self.tables[Size::Small.index()].insert(moves(start));
                    self.leaves.extend(live.into_iter().map(|(at, leaf)| (moves(at), leaf)));
                }
                None => {}
            }
        }
        Ok(())
    }
}
