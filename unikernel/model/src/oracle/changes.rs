//! What operations must do that can take something away.

use super::block::{Block, address};
use super::mapping::frames_for_tables;
use super::rights::Rights;
use super::tree::{Dead, Leaf, Tree};
use super::{Debt, Host};
use crate::size::{PARTS, Size};
use unikernel::memory::PAGE_LEN;
use unikernel::memory::address::{PhysAddr, VirtAddr};
use unikernel::memory::page_table::{Error, Released, VirtRange};

/// A change with all its values.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Concrete {
    Unmap(VirtRange),
    Detach(VirtRange),
    DetachLeafTables(VirtRange),
    Trim,
    Protect(VirtRange, Rights),
    Split(Size, VirtAddr),
    Promote(Size, VirtAddr),
}

impl Tree {
    /// Does it, where the caller owns `owned`, and so many frames are free.
    pub(crate) fn change(
        &mut self,
        host: Host,
        owned: Block,
        free: u64,
        change: Concrete,
        debt: &mut Debt,
    ) -> Result<(), Error> {
        match change {
            Concrete::Unmap(range) => {
                let part = self.uncut(owned, range)?;
                self.take_leaves(part, debt);
            }
            Concrete::Detach(range) => {
                let part = self.uncut(owned, range)?;
                self.take_tables(part, debt, |_, _| true);
                self.take_leaves(part, debt);
            }
            Concrete::DetachLeafTables(range) => {
                let part = self.uncut(owned, range)?;
                self.take_tables(part, debt, |_, extent| {
                    extent.end - extent.start == Size::Small.table_len_bytes()
                });
                self.take_leaves(part, debt);
            }
            Concrete::Trim => self.take_tables(owned, debt, |tree, extent| {
                tree.leaves_in(extent).next().is_none() && tree.dead_in(extent).is_empty()
            }),
            Concrete::Protect(range, rights) => {
                let part = self.uncut(owned, range)?;
                self.protect(part, rights, debt);
            }
            Concrete::Split(size, at) => {
                let range = VirtRange::new(at, size.len_bytes());
                let block = owned.part_of(range, size.len_bytes())?;
                self.split(block, size, free, debt)?;
            }
            Concrete::Promote(size, at) => {
                let range = VirtRange::new(at, size.len_bytes());
                let block = owned.part_of(range, size.len_bytes())?;
                if size == Size::Huge && !host.one_gib_leaves {
                    return Err(Error::UnsupportedSize { range, leaf_bytes: size.len_bytes() });
                }
                self.promote(block, size, debt)?;
            }
        }
        Ok(())
    }

    /// A part of the owned range, no edge of which lies inside a leaf.
    fn uncut(&self, owned: Block, range: VirtRange) -> Result<Block, Error> {
        let part = owned.part_of(range, PAGE_LEN)?;
        let block = |(start, leaf): (u64, &Leaf)| Block::new(start, leaf.size.len_bytes());
        match self.leaves_in(part).map(block).find(|leaf| !part.contains(*leaf)) {
            Some(leaf) => Err(Error::CutsLeaf { range: part.range(), leaf: leaf.range() }),
            None => Ok(part),
        }
    }

    fn take_leaves(&mut self, part: Block, debt: &mut Debt) {
        let leaves: Vec<(u64, Leaf)> = self.leaves_in(part).map(|(start, leaf)| (start, *leaf)).collect();
        for (start, leaf) in leaves {
            self.leaves.remove(&start);
            if self.owns() {
                self.dead.insert(start, Dead::Leaf(leaf));
                debt.unmovable |= leaf.size != Size::Large;
            }
            let stale = Block::new(start, leaf.size.len_bytes());
            // The core notes small leaves by the table that they are in, as far as it was asked to take them out.
            let around = if leaf.size == Size::Small {
                let table_len = Size::Small.table_len_bytes();
                Block::new(start / table_len * table_len, table_len).intersection(part)
            } else {
                stale
            };
            debt.owe(stale, around);
        }
    }

    /// Takes those tables out, largest first, that translate nothing but addresses of `part`.
    fn take_tables(&mut self, part: Block, debt: &mut Debt, takes: impl Fn(&Self, Block) -> bool) {
        for size in Size::ALL.into_iter().rev() {
            let starts: Vec<u64> = self.tables[size.index()].range(part.start..part.end).copied().collect();
            for start in starts {
                let extent = Block::new(start, size.table_len_bytes());
                if part.contains(extent) && takes(self, extent) {
                    for (leaf, entry) in self.leaves_in(extent) {
                        debt.owe(Block::new(leaf, entry.size.len_bytes()), extent);
                    }
                    debt.owe(extent, extent);
                    let dead = self.take_table(start, size.table_len_bytes());
                    self.dead.insert(start, dead);
                    debt.unmovable |= size != Size::Small;
                }
            }
        }
    }

    fn protect(&mut self, part: Block, rights: Rights, debt: &mut Debt) {
        let starts: Vec<u64> = self.leaves_in(part).map(|(start, _)| start).collect();
        for start in starts {
            if let Some(leaf) = self.leaves.get_mut(&start) {
                if leaf.rights.lessened_by(rights) {
                    let stale = Block::new(start, leaf.size.len_bytes());
                    debt.owe(stale, stale);
                }
                leaf.rights = rights;
            }
        }
    }

    fn split(&mut self, block: Block, size: Size, free: u64, debt: &mut Debt) -> Result<(), Error> {
        let range = block.range();
        let leaf = self.leaves.get(&block.start).filter(|leaf| leaf.size == size).copied();
        let leaf = leaf.ok_or(Error::NoLeaf { range })?;
        frames_for_tables(1, free, range)?;
        let part = size.part();
        for (index, start) in block.blocks(part.len_bytes()).enumerate() {
            let phys = leaf.phys + index as u64 * part.len_bytes();
            self.leaves.insert(start, Leaf { size: part, phys, rights: leaf.rights });
        }
        self.tables[part.index()].insert(block.start);
        debt.owe(block, block);
        Ok(())
    }

    fn promote(&mut self, block: Block, size: Size, debt: &mut Debt) -> Result<(), Error> {
        let range = block.range();
        let part = size.part();
        let mut first: Option<Leaf> = None;
        for (index, start) in block.blocks(part.len_bytes()).enumerate() {
            let at = address(start);
            let leaf = self.leaves.get(&start).filter(|leaf| leaf.size == part).copied();
            let leaf = leaf.ok_or(Error::Incomplete { range, at })?;
            let expected = *first.get_or_insert(leaf);
            let in_line = leaf.phys == expected.phys + index as u64 * part.len_bytes();
            if !in_line || !expected.phys.is_multiple_of(size.len_bytes()) {
                return Err(Error::NotContiguous { range, at, phys: PhysAddr::new(leaf.phys) });
            }
            if leaf.rights != expected.rights {
                return Err(Error::Unequal { range, at });
            }
        }
        let first = first.ok_or(Error::Incomplete { range, at: range.start })?;
        for start in block.blocks(part.len_bytes()).take(PARTS as usize) {
            self.leaves.remove(&start);
            debt.owe(Block::new(start, part.len_bytes()), block);
        }
        self.leaves.insert(block.start, Leaf { size, ..first });
        self.tables[part.index()].remove(&block.start);
        debt.retired += 1;
        Ok(())
    }

    /// What must happen to a range that is given back: nothing may be mapped there.
    pub(crate) fn unused(&self, block: Block) -> Result<(), Error> {
        match self.leaves_in(block).next() {
            Some((start, _)) => {
                Err(Error::StillMapped { range: block.range(), at: address(start.max(block.start)) })
            }
            None => Ok(()),
        }
    }

    /// Frees what awaited the flush of this debt, and says how much that is.
    pub(crate) fn release(&mut self, debt: &Debt) -> Released {
        let (tables, leaves) = (self.table_frames(), self.heap_frames());
        if let Some(hull) = debt.hull {
            for start in self.dead_in(hull) {
                self.dead.remove(&start);
            }
        }
        let tables = tables - self.table_frames() + debt.retired;
        Released { leaf_frames: leaves - self.heap_frames(), tables }
    }
}
