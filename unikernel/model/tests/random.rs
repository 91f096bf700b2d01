//! Random sequences.

use memory_model::{OPERATION_LEN_BYTES, Sequence, World};
use proptest::prelude::*;

/// The cases, and the operations in each at most: some 15 seconds without optimisation.
const CASES: u32 = if cfg!(miri) { 2 } else { 384 };
const OPERATIONS: usize = if cfg!(miri) { 10 } else { 60 };

/// Operations keep their place in the bytes, so that a failing sequence shrinks by leaving some out.
fn sequences() -> impl Strategy<Value = Sequence> {
    let operation = any::<[u8; OPERATION_LEN_BYTES]>();
    // Of the machines, the one with a frame of 1 GiB takes too long under Miri.
    let machine = if cfg!(miri) { 0..=1 } else { 0..=u8::MAX };
    (machine, prop::collection::vec(operation, 0..=OPERATIONS)).prop_map(|(machine, operations)| {
        let bytes: Vec<u8> = core::iter::once(machine).chain(operations.into_iter().flatten()).collect();
        Sequence::decode(&bytes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_core_does_what_plain_maps_say(sequence in sequences()) {
        World::run(&sequence);
    }
}
