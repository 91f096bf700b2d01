//! Random sequences on the heap and on the source of its ranges.

use memory_model::{HEAP_HEADER_LEN_BYTES, HEAP_OPERATION_LEN_BYTES, HeapSequence};
use proptest::prelude::*;

/// The cases, and the operations in each at most: some 10 seconds without optimisation.
const CASES: u32 = if cfg!(miri) { 2 } else { 1024 };
const OPERATIONS: usize = if cfg!(miri) { 10 } else { 60 };

/// Operations keep their place in the bytes, so that a failing sequence shrinks by leaving some out.
fn sequences(first: impl Strategy<Value = u8>) -> impl Strategy<Value = HeapSequence> {
    let header = any::<[u8; HEAP_HEADER_LEN_BYTES - 1]>();
    let operation = any::<[u8; HEAP_OPERATION_LEN_BYTES]>();
    (first, header, prop::collection::vec(operation, 0..=OPERATIONS)).prop_map(
        |(first, header, operations)| {
            let head = core::iter::once(first).chain(header);
            let bytes: Vec<u8> = head.chain(operations.into_iter().flatten()).collect();
            HeapSequence::decode(&bytes)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn blocks_are_apart_and_keep_what_was_written(sequence in sequences(Just(0))) {
        sequence.run();
    }

    #[test]
    fn ranges_have_their_frames_whatever_others_take(sequence in sequences(Just(1))) {
        sequence.run();
    }
}
