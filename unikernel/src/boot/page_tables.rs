//! The boot page tables: all RAM one to one, the image by section, guard pages and page 0 left out, and the fault stack
//! in the upper half.
//!
//! They are static: built once, from a fixed pool of table pages, with the largest leaves the processor has.

use crate::cpu::host::Host;
use crate::memory::ram::RANGES_MAX;
use crate::memory::range_set::{RangeSet, TooManyRanges};
use crate::memory::{AddressRange, PAGE_LEN};
use x86::bits64::paging::{PDFlags, PTFlags};

use crate::memory::image::Section;

const ENTRIES: usize = 512;
/// Level of the root table, the PML4.
const ROOT_LEVEL: u32 = 4;
/// Bits 51 to 12 of an entry: the address it leads to (Intel SDM volume 3, 4.5.4).
const ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;
/// How many table pages the pool has: enough for any RAM in 1 GiB leaves, and for some 20 GiB without them.
pub(super) const POOL_LEN: usize = 40;

/// One page table.
#[derive(Clone)]
#[repr(C, align(4096))]
pub(super) struct Table([u64; ENTRIES]);

impl Table {
    pub(super) const EMPTY: Self = Self([0; ENTRIES]);
}

/// The pool has no table left. What lies below `reached` is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfTables {
    /// First virtual address that is not mapped.
    pub(super) reached: u64,
}

/// What a mapping allows; reading always.
#[derive(Clone, Copy)]
struct Permissions {
    writable: bool,
    executable: bool,
}

const DATA: Permissions = Permissions { writable: true, executable: false };

/// Tables under construction.
pub(super) struct Builder<'pool> {
    pool: &'pool mut [Table],
    pool_address: u64,
    /// Index of the root in the pool; a table in front of it stays unused.
    root: usize,
    used: usize,
    user_bit: PTFlags,
    leaf_level_max: u32,
}

impl<'pool> Builder<'pool> {
    /// Starts with an empty root. `pool_address` is the physical address of the pool, which is all zero.
    pub(super) fn new(pool: &'pool mut [Table], pool_address: u64, host: Host, has_1g_leaves: bool) -> Self {
        let leaf_level_max = if has_1g_leaves { 3 } else { 2 };
        let root = if host.takes_root_table_at(pool_address) { 0 } else { 1 };
        Self { pool, pool_address, root, used: root + 1, user_bit: host.user_bit(), leaf_level_max }
    }

    /// Physical address of the root, for CR3.
    pub(super) fn root(&self) -> u64 {
        self.pool_address + self.root as u64 * PAGE_LEN
    }

    /// Maps each section one to one with its own permissions, without the guard pages inside of them.
    pub(super) fn map_image(
        &mut self,
        sections: &[Section],
        guards: &[AddressRange],
    ) -> Result<(), OutOfTables> {
        for Section { range, writable, executable, .. } in sections {
            let permissions = Permissions { writable: *writable, executable: *executable };
            let mut start = range.start;
            for guard in guards.iter().filter(|guard| range.contains(&guard.start)) {
                self.map(start, start, guard.start - start, permissions)?;
                start = guard.end;
            }
            self.map(start, start, range.end - start, permissions)?;
        }
        Ok(())
    }

    /// Maps all RAM outside of the image one to one, writable and never executable.
    pub(super) fn map_ram(
        &mut self,
        ram: &RangeSet<RANGES_MAX>,
        image: &AddressRange,
    ) -> Result<Result<(), OutOfTables>, TooManyRanges> {
        let mut ram = ram.clone();
        ram.remove(image)?;
        Ok(ram
            .ranges()
            .iter()
            .try_for_each(|range| self.map(range.start, range.start, range.end - range.start, DATA)))
    }

    /// Maps a stack a second time, at `window`.
    pub(super) fn map_stack(&mut self, window: u64, stack: &AddressRange) -> Result<(), OutOfTables> {
        self.map(window, stack.start, stack.end - stack.start, DATA)
    }

    /// Maps whole pages with the largest leaves that fit.
    fn map(
        &mut self,
        mut virt: u64,
        mut phys: u64,
        mut len: u64,
        allow: Permissions,
    ) -> Result<(), OutOfTables> {
        while len > 0 {
            let fits =
                |level: &u32| (virt | phys).is_multiple_of(leaf_len(*level)) && len >= leaf_len(*level);
            let level = (1..=self.leaf_level_max).rev().find(fits).unwrap_or(1);
            self.set_leaf(virt, phys, level, allow).ok_or(OutOfTables { reached: virt })?;
            let step = leaf_len(level).min(len);
            (virt, phys, len) = (virt.wrapping_add(step), phys + step, len - step);
        }
        Ok(())
    }

    /// Writes one leaf, with the tables above it. `None` when the pool has no table left.
    fn set_leaf(&mut self, virt: u64, phys: u64, leaf_level: u32, allow: Permissions) -> Option<()> {
        let mut table = self.root;
        for level in (leaf_level + 1..=ROOT_LEVEL).rev() {
            let entry = self.pool[table].0[index(virt, level)];
            table = if entry & PTFlags::P.bits() == 0 {
                let next = self.used;
                self.pool.get(next)?;
                self.used += 1;
                let address = self.pool_address + next as u64 * PAGE_LEN;
                let flags = PTFlags::P | PTFlags::RW | self.user_bit;
                self.pool[table].0[index(virt, level)] = address | flags.bits();
                next
            } else {
                debug_assert_eq!(entry & PDFlags::PS.bits(), 0, "a leaf covers {virt:#x} already");
                ((entry & ADDRESS_MASK) - self.pool_address) as usize / PAGE_LEN as usize
            };
        }
        let mut flags = PTFlags::P | self.user_bit;
        flags.set(PTFlags::RW, allow.writable);
        flags.set(PTFlags::XD, !allow.executable);
        let size_bit = if leaf_level > 1 { PDFlags::PS.bits() } else { 0 };
        self.pool[table].0[index(virt, leaf_level)] = phys | flags.bits() | size_bit;
        Some(())
    }
}

/// How many bytes a leaf at `level` maps.
const fn leaf_len(level: u32) -> u64 {
    PAGE_LEN << (9 * (level - 1))
}

/// Index of the entry for `virt` in a table at `level`.
const fn index(virt: u64, level: u32) -> usize {
    (virt >> (12 + 9 * (level - 1))) as usize % ENTRIES
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::slice;

    const POOL: u64 = 0x70_0000;
    const GIB: u64 = 1 << 30;

    /// Builds tables and gives back what an address translates to: the physical address and the leaf's entry bits.
    fn walk(pool: &[Table], virt: u64) -> Option<(u64, u64)> {
        let mut table = pool.iter().position(|table| table.0.iter().any(|entry| *entry != 0))?;
        for level in (1..=ROOT_LEVEL).rev() {
            let entry = pool[table].0[index(virt, level)];
            if entry & PTFlags::P.bits() == 0 {
                return None;
            }
            if level == 1 || entry & PDFlags::PS.bits() != 0 {
                let offset = virt % leaf_len(level);
                return Some(((entry & ADDRESS_MASK) + offset, entry & !ADDRESS_MASK));
            }
            table = ((entry & ADDRESS_MASK) - POOL) as usize / PAGE_LEN as usize;
        }
        None
    }

    fn sections() -> [Section; 2] {
        let text = Section { name: "text", range: 0x20_0000..0x20_3000, writable: false, executable: true };
        [text, Section { name: "data", range: 0x20_3000..0x20_8000, writable: true, executable: false }]
    }

    fn build(host: Host, has_1g_leaves: bool, ram: &[AddressRange]) -> Vec<Table> {
        let mut pool = vec![Table::EMPTY; POOL_LEN];
        let mut set = RangeSet::new();
        for range in ram {
            set.insert(range).unwrap();
        }
        let mut builder = Builder::new(&mut pool, POOL, host, has_1g_leaves);
        let guard = 0x20_5000..0x20_6000;
        builder.map_image(&sections(), slice::from_ref(&guard)).unwrap();
        builder.map_ram(&set, &(0x20_0000..0x20_8000)).unwrap().unwrap();
        builder.map_stack(0xffff_ff80_0000_1000, &(0x20_6000..0x20_8000)).unwrap();
        pool
    }

    #[test]
    fn ram_is_mapped_one_to_one_and_nothing_else_is() {
        for has_1g_leaves in [false, true] {
            let pool = build(
                Host::RingZero,
                has_1g_leaves,
                &[0x1000..0x9_f000, 0x10_0000..3 * GIB, 4 * GIB..7 * GIB],
            );
            for address in [0x1000, 0x9_e000, 0x10_0000, 0x20_8000, GIB, 3 * GIB - 1, 4 * GIB, 7 * GIB - 1] {
                let (phys, flags) = walk(&pool, address).unwrap();
                assert_eq!(phys, address);
                assert_ne!(flags & PTFlags::RW.bits(), 0);
                assert_ne!(flags & PTFlags::XD.bits(), 0);
                assert_eq!(flags & PTFlags::US.bits(), 0);
            }
            for address in [0, 0xfff, 0x9_f000, 0xf_ffff, 3 * GIB, 4 * GIB - 1, 7 * GIB, 1 << 47] {
                assert_eq!(walk(&pool, address), None, "{address:#x}");
            }
        }
    }

    #[test]
    fn sections_keep_their_permissions_and_guards_are_absent() {
        let pool = build(Host::RingZero, true, slice::from_ref(&(0x10_0000..GIB)));
        let flags = |address| walk(&pool, address).unwrap().1;
        assert_eq!(flags(0x20_2fff) & (PTFlags::RW | PTFlags::XD).bits(), 0, "text");
        assert_eq!(
            flags(0x20_3000) & (PTFlags::RW | PTFlags::XD).bits(),
            (PTFlags::RW | PTFlags::XD).bits(),
            "data"
        );
        assert_eq!(walk(&pool, 0x20_5000), None, "guard");
        assert_eq!(walk(&pool, 0x20_6000).unwrap().0, 0x20_6000);
        assert_eq!(walk(&pool, 0xffff_ff80_0000_1000).unwrap().0, 0x20_6000, "the stack's window");
        assert_eq!(walk(&pool, 0xffff_ff80_0000_0fff), None);
        assert_eq!(walk(&pool, 0xffff_ff80_0000_3000), None);
    }

    #[test]
    fn pvm_has_the_user_bit_in_every_present_entry() {
        let pool = build(Host::PvmLevel3, true, slice::from_ref(&(0x10_0000..5 * GIB)));
        let present = pool.iter().flat_map(|table| table.0).filter(|entry| entry & PTFlags::P.bits() != 0);
        assert!(present.clone().count() > 500);
        assert!(present.into_iter().all(|entry| entry & PTFlags::US.bits() != 0));
    }

    #[test]
    fn the_root_lies_where_the_host_takes_it() {
        let mut pool = vec![Table::EMPTY; 3];
        let mut root = |pool_address, host| Builder::new(&mut pool, pool_address, host, true).root();
        assert_eq!(root(0x20_0000, Host::RingZero), 0x20_0000);
        assert_eq!(root(0x20_0000, Host::PvmLevel3), 0x20_1000);
        assert_eq!(root(0x20_1000, Host::PvmLevel3), 0x20_1000);
    }

    #[test]
    fn a_pool_that_runs_out_says_how_far_it_came() {
        let mut pool = vec![Table::EMPTY; 5];
        let mut ram = RangeSet::new();
        ram.insert(&(GIB..10 * GIB)).unwrap();
        let mut builder = Builder::new(&mut pool, POOL, Host::RingZero, false);
        let result = builder.map_ram(&ram, &(0..0)).unwrap();
        assert_eq!(
            result,
            Err(OutOfTables { reached: 4 * GIB }),
            "a root, a PDPT and three page directories"
        );
        assert_eq!(walk(&pool, 4 * GIB - 1).unwrap().0, 4 * GIB - 1);
        assert_eq!(walk(&pool, 4 * GIB), None);
    }
}
