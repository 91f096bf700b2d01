//! What the loops and their callers exchange: one record, which a loop reads at its start and brings up to date at its
//! end. A loop ends when no block remains, or in front of the first block that differs.

use super::Direction;
use super::pattern::{BLOCK_LEN, Block, Pattern};
use core::mem::offset_of;

/// A way through memory.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Sweep {
    /// State of the pattern that blocks are compared with.
    pub(super) expected: Block,
    /// State of the pattern that blocks are given.
    pub(super) new: Block,
    /// Step or mask of each.
    pub(super) expected_constant: u64,
    pub(super) new_constant: u64,
    /// The next block.
    pub(super) at: *mut Block,
    /// How many blocks remain.
    pub(super) remaining: usize,
    /// Bytes from one block to the next.
    pub(super) stride: isize,
}

/// Offsets for the assembly.
pub(super) const EXPECTED: usize = offset_of!(Sweep, expected);
pub(super) const NEW: usize = offset_of!(Sweep, new);
pub(super) const EXPECTED_CONSTANT: usize = offset_of!(Sweep, expected_constant);
pub(super) const NEW_CONSTANT: usize = offset_of!(Sweep, new_constant);
pub(super) const AT: usize = offset_of!(Sweep, at);
pub(super) const REMAINING: usize = offset_of!(Sweep, remaining);
pub(super) const STRIDE: usize = offset_of!(Sweep, stride);

impl Sweep {
    pub(super) fn new(
        at: *mut Block,
        remaining: usize,
        direction: Direction,
        expected: Pattern,
        new: Pattern,
    ) -> Self {
        let stride = match direction {
            Direction::Up => BLOCK_LEN as isize,
            Direction::Down => -(BLOCK_LEN as isize),
        };
        let (expected_constant, new_constant) = (expected.constant(), new.constant());
        Self {
            expected: expected.state(),
            new: new.state(),
            expected_constant,
            new_constant,
            at,
            remaining,
            stride,
        }
    }

    /// Passes over the block at which a loop has ended.
    pub(super) fn skip(&mut self) {
        self.at = self.at.wrapping_byte_offset(self.stride);
        self.remaining -= 1;
    }
}
