//! Everything goes back, and nothing is missing but what was forgotten.

use super::modelled::Modelled;
use super::{Cpu, World};
use crate::operation::Change;
use crate::oracle::Block;
use crate::size::Size;
use unikernel::memory::address_space::NULL_GUARD_BYTES;
use unikernel::memory::page_table::{Carved, Kva, Mmio, Tracked, VaRange};
use unikernel::memory::simulation::NoTlb;
use unikernel::memory::subtree::Subtree;

impl<'a> World<'a> {
    /// Gives everything back, and compares what is free with what was free at boot.
    ///
    /// # Panics
    /// If something is missing.
    pub fn finish(mut self) {
        self.ground.taken.clear();
        self.oracle.held = 0;
        self.finish_kind::<Tracked>();
        self.finish_kind::<Mmio>();
        self.finish_kind::<Kva>();
        self.check_tables();
        let stuck: u64 = self.oracle.trees.iter().map(|tree| tree.heap_frames() + tree.table_frames()).sum();
        assert_eq!(self.ground.free() + stuck + self.oracle.retired, self.oracle.free_at_boot);
        if !self.leaked {
            assert_eq!(self.oracle.retired, 0, "replaced tables that are left");
            assert_eq!(self.oracle.outstanding, 0, "flushes that are outstanding");
            // What no range covers, for it also translates the null guard.
            trim_free::<Tracked>(self.ground.cpu);
            trim_free::<Mmio>(self.ground.cpu);
            trim_free::<Kva>(self.ground.cpu);
            assert_eq!(self.ground.free(), self.oracle.free_at_boot, "tables are left");
        }
    }

    fn finish_kind<O: Modelled>(&mut self) {
        self.flush_all::<O>();
        for range in self.joined::<O>() {
            self.empty(range);
        }
        self.check();
        self.trim_all::<O>();
        self.check();
        self.check_left::<O>();
    }

    /// All ranges, neighbours joined.
    fn joined<O: Modelled>(&mut self) -> Vec<VaRange<O, Cpu<'a>>> {
        let mut ranges = core::mem::take(&mut O::side(&mut self.sides).ranges);
        ranges.sort_by_key(|range| range.range().start);
        let mut joined: Vec<VaRange<O, Cpu<'a>>> = Vec::new();
        for range in ranges {
            let last = joined.pop();
            match last {
                Some(last) => match last.join(range) {
                    Ok(both) => joined.push(both),
                    Err(apart) => joined.extend([apart.input.0, apart.input.1]),
                },
                None => joined.push(range),
            }
        }
        joined
    }

    /// Unmaps all of a range, and gives it back; but not where a large leaf is, part of which was forgotten.
    fn empty<O: Modelled>(&mut self, range: VaRange<O, Cpu<'a>>) {
        let owned = Block::of(range.range());
        let mut whole = owned;
        let leaves: Vec<Block> = self
            .oracle
            .tree(O::KIND)
            .leaves_in(owned)
            .map(|(start, leaf)| Block::new(start, leaf.size.len_bytes()))
            .filter(|leaf| !owned.contains(*leaf))
            .collect();
        for leaf in leaves {
            assert!(self.leaked, "{leaf:?} is cut by {owned:?}, and nothing was forgotten");
            if leaf.start < owned.start {
                whole.start = leaf.end.min(owned.end);
            } else {
                whole.end = leaf.start;
            }
        }
        if whole.start >= whole.end {
            return;
        }
        let Ok(Carved { middle, .. }) = range.carve(whole.range()) else {
            panic!("{whole:?} lies in {owned:?}")
        };
        self.put_back(middle);
        self.change::<O>(0, Change::Unmap, None);
        self.flush_all::<O>();
        self.give_back::<O>(0);
        assert!(O::side(&mut self.sides).ranges.is_empty(), "{whole:?} goes back");
    }

    /// Takes the tables out that no range kept, by owning all that is free for a while.
    fn trim_all<O: Modelled>(&mut self) {
        while let Ok(range) = Subtree::<O>::reserve_longest(self.ground.cpu) {
            let owned = Block::of(range.range());
            assert!(self.oracle.addresses(O::KIND).has(owned), "{owned:?} was not free");
            self.oracle.addresses(O::KIND).take(owned);
            self.put_back(range);
        }
        assert_eq!(self.oracle.addresses(O::KIND).len_bytes(), 0, "nothing is free");
        let count = O::side(&mut self.sides).ranges.len();
        for _ in 0..count {
            // What is trimmed comes back at the end of the list, which `pick` fills the gap from.
            self.change::<O>(0, Change::Trim, None);
        }
        self.flush_all::<O>();
        for _ in 0..count {
            self.give_back::<O>(0);
        }
        assert!(O::side(&mut self.sides).ranges.is_empty(), "all goes back");
    }

    /// Only tables may be left that reach into what was forgotten.
    fn check_left<O: Modelled>(&mut self) {
        let (trees, addresses) = (&self.oracle.trees, &self.oracle.addresses);
        let (tree, addresses) = (&trees[O::KIND as usize], &addresses[O::KIND as usize]);
        for size in Size::ALL {
            for start in &tree.tables[size.index()] {
                let extent = Block::new(*start, size.table_len_bytes());
                let guard = extent.start < NULL_GUARD_BYTES;
                assert!(
                    guard || !addresses.has(extent),
                    "the table of {extent:?} holds nothing, and was not trimmed"
                );
                assert!(guard || self.leaked, "the table of {extent:?} is left, and nothing was forgotten");
            }
        }
        if !self.leaked {
            assert!(tree.leaves.is_empty() && tree.dead.is_empty(), "{:?} is left", tree.leaves);
        }
    }
}

/// Trims all free addresses of a kind.
fn trim_free<O: Modelled>(cpu: Cpu<'_>) {
    let trimmed = Subtree::<O>::trim(cpu, &NoTlb::default());
    assert!(trimmed.is_ok(), "{trimmed:?}");
}
