//! The loops for processors without vectors that can be used.

use super::pattern::{Block, Pattern};
use super::sweep::Sweep;

/// Fills with a pattern.
///
/// # Safety
/// The sweep is valid for writes.
pub(super) unsafe fn fill(sweep: &mut Sweep, pattern: &mut Pattern) {
    while sweep.remaining > 0 {
        // SAFETY: the caller's promise. Volatile, since memory under test may not be optimized away.
        unsafe { sweep.at.write_volatile(pattern.block()) };
        pattern.advance();
        sweep.skip();
    }
    sweep.new = pattern.state();
}

/// Compares with a pattern.
///
/// # Safety
/// The sweep is valid for reads.
pub(super) unsafe fn verify(sweep: &mut Sweep, pattern: &mut Pattern) {
    // SAFETY: as in `fill`.
    while sweep.remaining > 0 && unsafe { sweep.at.read_volatile() } == pattern.block() {
        pattern.advance();
        sweep.skip();
    }
    sweep.expected = pattern.state();
}

/// Compares with one pattern and replaces by another.
///
/// # Safety
/// The sweep is valid for reads and writes.
pub(super) unsafe fn update(sweep: &mut Sweep, old: &mut Pattern, new: &mut Pattern) {
    // SAFETY: as in `fill`.
    while sweep.remaining > 0 && unsafe { sweep.at.read_volatile() } == old.block() {
        // SAFETY: as in `fill`.
        unsafe { sweep.at.write_volatile(new.block()) };
        old.advance();
        new.advance();
        sweep.skip();
    }
    (sweep.expected, sweep.new) = (old.state(), new.state());
}

/// Reads blocks, and returns the exclusive or of all words.
pub(super) fn read(blocks: &[Block]) -> u64 {
    blocks.iter().flat_map(|block| block.0).fold(0, |sum, word| sum ^ core::hint::black_box(word))
}
