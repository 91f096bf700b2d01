//! Whether core and oracle agree.

use super::World;
use super::modelled::Modelled;
use crate::oracle::{Block, Rights};
use unikernel::memory::PAGE_LEN;
use unikernel::memory::address::VirtAddr;
use unikernel::memory::address_space::AddressSpace;
use unikernel::memory::audit::audit;
use unikernel::memory::page_table::{Kva, Machine, Mapping, Mmio, Tracked, VirtRange};

/// Where looking at all frames takes long, it is done once in so many steps.
const AUDIT_STEPS: u64 = 16;

impl World<'_> {
    /// Compares all that can be seen.
    pub(super) fn check(&mut self) {
        self.check_frames();
        self.check_kind::<Tracked>();
        self.check_kind::<Mmio>();
        self.check_kind::<Kva>();
        self.steps += 1;
        let slow = self.ground.large || cfg!(miri);
        if !slow || self.steps.is_multiple_of(AUDIT_STEPS) {
            self.check_tables();
        }
    }

    /// Compares how many frames are free.
    pub(super) fn check_frames(&self) {
        assert_eq!(self.ground.free(), self.oracle.free(), "free frames");
    }

    /// Compares what the hardware would see, and the use of each frame.
    pub(super) fn check_tables(&self) {
        self.oracle.check(&audit(self.ground.cpu));
    }

    fn check_kind<O: Modelled>(&mut self) {
        let space: &AddressSpace = self.ground.cpu.space();
        let free = space.subtree::<O>().free_bytes();
        assert_eq!(
            free,
            self.oracle.addresses[O::KIND as usize].len_bytes(),
            "free addresses of {}",
            O::KIND
        );
        let ranges = core::mem::take(&mut O::side(&mut self.sides).ranges);
        for range in &ranges {
            let owned = Block::of(range.range());
            let mut expected = self.oracle.tree(O::KIND).leaves_in(owned);
            for found in range.leaves() {
                let next = expected.next();
                let next =
                    next.map(|(at, leaf)| (Block::new(at, leaf.size.len_bytes()), leaf.phys, leaf.rights));
                assert_eq!(Some(seen(found)), next, "a leaf of {owned:?}, and the one expected");
            }
            assert_eq!(expected.next(), None, "a leaf of {owned:?} is missing");
            drop(expected);
            let counts = self.oracle.tree(O::KIND).leaf_counts(owned);
            assert_eq!(range.count_leaves(), counts, "how many leaves {owned:?} has");
            for at in self.questions(owned) {
                self.compare_query::<O>(owned, at, range.query(at));
            }
        }
        O::side(&mut self.sides).ranges = ranges;
    }

    /// Some addresses in the range and at its edges, others at each step.
    fn questions(&self, owned: Block) -> [VirtAddr; 6] {
        let random = (self.steps + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let len_bytes = owned.end - owned.start;
        let near = len_bytes.min(64 * PAGE_LEN);
        [0, len_bytes - 1, len_bytes, u64::MAX, random % len_bytes, random % near]
            .map(|offset| VirtAddr::new(owned.range().start.as_u64().wrapping_add(offset)))
    }

    /// Compares what was found at an address.
    pub(super) fn compare_query<O: Modelled>(
        &mut self,
        owned: Block,
        at: VirtAddr,
        found: Option<Mapping<O>>,
    ) {
        let inside = Block::check(VirtRange::new(at, 1), 1);
        let inside = inside.ok().filter(|address| owned.contains(*address));
        let expected = inside.and_then(|address| self.oracle.tree(O::KIND).leaf_over(address.start));
        let expected =
            expected.map(|(start, leaf)| (Block::new(start, leaf.size.len_bytes()), leaf.phys, leaf.rights));
        assert_eq!(found.map(seen), expected, "what is mapped at {at}");
    }
}

/// A mapping as the oracle has it.
fn seen<O: Modelled>(mapping: Mapping<O>) -> (Block, u64, Rights) {
    (Block::of(mapping.range), mapping.phys.as_u64(), O::rights(mapping.attributes))
}
