//! A machine, and what is done on it, from bytes.

use crate::operation::Operation;
use core::fmt;

/// An operation takes so many bytes, however many it uses: so that one can be left out or changed and the others stay.
pub const OPERATION_LEN_BYTES: usize = 32;

/// A machine to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Paging as KVM_PVM has it, else as ring 0.
    pub pvm: bool,
    /// Whether there is a frame of 1 GiB.
    pub huge_frames: bool,
}

/// What is done, in this order.
#[derive(Clone, PartialEq, Eq)]
pub struct Sequence {
    /// On this machine.
    pub machine: Machine,
    /// These.
    pub operations: Vec<Operation>,
}

impl Sequence {
    /// The first byte is the machine, and each [`OPERATION_LEN_BYTES`] after it an operation.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let (first, rest) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest));
        let machine = Machine { pvm: first & 1 == 1, huge_frames: first & 0xf0 == 0xf0 };
        Self { machine, operations: rest.chunks(OPERATION_LEN_BYTES).map(Operation::decode).collect() }
    }
}

impl fmt::Debug for Sequence {
    /// One operation a line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:?}", self.machine)?;
        for (index, operation) in self.operations.iter().enumerate() {
            writeln!(formatter, "{index:3}: {operation:?}")?;
        }
        Ok(())
    }
}
