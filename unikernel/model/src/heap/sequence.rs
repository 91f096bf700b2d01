//! What is done to a heap or to a source of ranges, from bytes.

use super::blocks::{self, BlockHeap, BlockOperation};
use super::ranges::{self, RangeMachine, RangeOperation};
use crate::bytes::Bytes;
use core::fmt;

/// What an operation takes, however much of it it uses.
pub const HEAP_OPERATION_LEN_BYTES: usize = 8;
/// What the heap, or the machine, takes before the operations.
pub const HEAP_HEADER_LEN_BYTES: usize = 6;

/// What is done, in this order.
#[derive(Clone, PartialEq, Eq)]
pub enum HeapSequence {
    /// To a heap over memory of the host.
    Blocks(BlockHeap, Vec<BlockOperation>),
    /// To a source of ranges in a simulated machine.
    Ranges(RangeMachine, Vec<RangeOperation>),
}

impl HeapSequence {
    /// What any bytes say.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let (header, rest) = bytes.split_at(bytes.len().min(HEAP_HEADER_LEN_BYTES));
        let (mut header, rest) = (Bytes::new(header), rest.chunks(HEAP_OPERATION_LEN_BYTES).map(Bytes::new));
        if header.flag() {
            let machine = RangeMachine::decode(&mut header);
            Self::Ranges(machine, rest.map(|mut bytes| RangeOperation::decode(&mut bytes)).collect())
        } else {
            let heap = BlockHeap::decode(&mut header);
            Self::Blocks(heap, rest.map(|mut bytes| BlockOperation::decode(&mut bytes)).collect())
        }
    }

    /// Does it all, and gives everything back.
    ///
    /// # Panics
    /// If the heap or the source and the model of it disagree.
    pub fn run(&self) {
        match self {
            Self::Blocks(heap, operations) => blocks::run(*heap, operations),
            Self::Ranges(machine, operations) => ranges::run(*machine, operations),
        }
    }
}

impl fmt::Debug for HeapSequence {
    /// One operation a line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn lines(formatter: &mut fmt::Formatter<'_>, operations: &[impl fmt::Debug]) -> fmt::Result {
            operations
                .iter()
                .enumerate()
                .try_for_each(|(index, operation)| writeln!(formatter, "{index:3}: {operation:?}"))
        }
        match self {
            Self::Blocks(heap, operations) => {
                writeln!(formatter, "{heap:?}")?;
                lines(formatter, operations)
            }
            Self::Ranges(machine, operations) => {
                writeln!(formatter, "{machine:?}")?;
                lines(formatter, operations)
            }
        }
    }
}
