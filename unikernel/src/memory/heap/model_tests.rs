//! Random operations against a model: which addresses are whose, and what was written there.

use super::fixture::{Block, KIB, MIB, TestHeap, layout, with_heap};
use super::{OneRange, RangeSource};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use proptest::prelude::*;

/// What is done to a heap.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// A block of this size and alignment.
    Allocate(usize, usize),
    /// The block with this number, modulo how many there are, gets this size.
    Resize(usize, usize),
    /// The block with this number goes.
    Free(usize),
}

pub(super) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let size = || {
        (0..20_u32, 0_usize..1 << 20).prop_map(|(bits, low)| 1 + (low & ((1 << bits) - 1)) + (1 << bits >> 1))
    };
    let align = prop_oneof![4 => 0..5_u32, 1 => 0..21_u32].prop_map(|bits| 1_usize << bits);
    let one = prop_oneof![
        4 => (size(), align).prop_map(|(size, align)| Operation::Allocate(size, align)),
        2 => (any::<usize>(), size()).prop_map(|(number, size)| Operation::Resize(number, size)),
        3 => any::<usize>().prop_map(Operation::Free),
    ];
    prop::collection::vec(one, 1..if cfg!(miri) { 60 } else { 400 })
}

/// Does the operations; what there is no room for is left out. Checks that blocks do not overlap, and, by the blocks, that
/// they are aligned and hold what was written.
pub(super) fn run<S: RangeSource>(heap: &TestHeap<S>, operations: &[Operation]) {
    let mut blocks: Vec<Block<'_, S>> = Vec::new();
    let mut owners = BTreeMap::new();
    for (step, operation) in operations.iter().enumerate() {
        match *operation {
            Operation::Allocate(size, align) => {
                if let Some(block) = Block::new(heap, layout(size, align), step as u8) {
                    insert(&mut owners, &block);
                    blocks.push(block);
                }
            }
            Operation::Resize(number, size) if !blocks.is_empty() => {
                let number = number % blocks.len();
                owners.remove(&blocks[number].addresses().start);
                let _ = blocks[number].resize(size);
                insert(&mut owners, &blocks[number]);
            }
            Operation::Free(number) if !blocks.is_empty() => {
                let block = blocks.swap_remove(number % blocks.len());
                owners.remove(&block.addresses().start);
            }
            _ => {}
        }
    }
}

fn insert<S: RangeSource>(owners: &mut BTreeMap<usize, usize>, block: &Block<'_, S>) {
    let addresses = block.addresses();
    if let Some((start, end)) = owners.range(..addresses.end).next_back() {
        assert!(*end <= addresses.start, "{addresses:x?} overlaps {start:x}..{end:x}");
    }
    owners.insert(addresses.start, addresses.end);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 3 } else { 300 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn blocks_are_apart_and_all_comes_back(
        len in prop_oneof![Just(MIB), Just(3 * MIB + 20 * KIB), Just(16 * MIB)],
        operations in operations(),
    ) {
        with_heap(len, |heap| run::<OneRange>(heap, &operations));
    }
}
