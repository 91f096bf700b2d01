//! What mapping must do.

use super::block::{Block, address};
use super::rights::Rights;
use super::tree::{Leaf, Tree};
use super::{Debt, Host};
use crate::size::Size;
use unikernel::memory::PAGE_LEN;
use unikernel::memory::frame::OutOfFrames;
use unikernel::memory::page_table::{Error, VirtRange};

/// What was offered.
#[derive(Clone, Debug)]
pub(crate) struct Mapped {
    pub(crate) range: VirtRange,
    pub(crate) size: Size,
    /// Physical addresses, in the order of the leaves.
    pub(crate) memory: Vec<u64>,
    pub(crate) rights: Rights,
}

/// `count` frames for tables, when so many are free.
pub(super) fn frames_for_tables(count: u64, free_frames: u64, range: VirtRange) -> Result<(), Error> {
    if count <= free_frames {
        return Ok(());
    }
    let cause = OutOfFrames { size: "4 KiB", count, free_frames, promised_frames: 0 };
    Err(Error::OutOfFrames { range, cause })
}

impl Tree {
    /// Maps, where the caller owns `owned`, and so many frames are free.
    pub(crate) fn map(&mut self, host: Host, owned: Block, free: u64, mapped: &Mapped) -> Result<(), Error> {
        let Mapped { range, size, ref memory, rights } = *mapped;
        let block = owned.part_of(range, size.len_bytes())?;
        if size == Size::Huge && !host.one_gib_leaves {
            return Err(Error::UnsupportedSize { range, leaf_bytes: size.len_bytes() });
        }
        self.free_of_others(block, size)?;
        let missing: Vec<(Size, u64)> = Size::ALL
            .into_iter()
            .filter(|level| *level >= size)
            .flat_map(|level| block.blocks(level.table_len_bytes()).map(move |start| (level, start)))
            .filter(|(level, start)| !self.tables[level.index()].contains(start))
            .collect();
        frames_for_tables(missing.len() as u64, free, range)?;
        for (level, start) in missing {
            self.tables[level.index()].insert(start);
        }
        for (start, phys) in block.blocks(size.len_bytes()).zip(memory) {
            self.leaves.insert(start, Leaf { size, phys: *phys, rights });
        }
        Ok(())
    }

    /// Refuses a block where leaves are in the way of leaves of this size, or a table in the place of one.
    fn free_of_others(&self, block: Block, size: Size) -> Result<(), Error> {
        let range = block.range();
        let leaf = self.leaves_in(block).next().map(|(start, _)| start.max(block.start));
        let below = Size::ALL.into_iter().rfind(|below| *below < size);
        let tables = below.map(|below| &self.tables[below.index()]);
        let table = tables.and_then(|tables| tables.range(block.start..block.end).next().copied());
        match (leaf, table) {
            (None, None) => Ok(()),
            (leaf, Some(table)) if leaf.is_none_or(|leaf| leaf >= table + size.len_bytes()) => {
                Err(Error::TableKept { range, at: address(table) })
            }
            (leaf, table) => {
                let at = address(leaf.or(table).unwrap_or(block.start));
                Err(Error::AlreadyMapped { range, at })
            }
        }
    }
}

impl Debt {
    /// Whether a cursor takes a mapping, as far as what it took out itself goes.
    pub(crate) fn admits(&self, range: VirtRange) -> Result<(), Error> {
        let Some(hull) = self.hull else { return Ok(()) };
        if hull.touches(Block::check(range, PAGE_LEN)?) {
            return Err(Error::AwaitingFlush { range, pending: hull.range() });
        }
        Ok(())
    }
}
