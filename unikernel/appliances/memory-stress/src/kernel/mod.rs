//! The loops that touch memory: fill it, verify it, update it in place, copy it, read it.
//!
//! Memory is worked on in blocks of [`BLOCK_LEN`] bytes, aligned to that length. There is a set of loops for each
//! [`Vectors`] that a processor may have; all sets do the same at different speeds. The vector loops are naked functions:
//! the guest is compiled without vector registers, and in a function of its own assembly may use them as the ABI allows,
//! in guest and host alike. Being opaque to the compiler they also make sure that memory really is written and read.

mod avx2;
mod avx512;
pub mod pattern;
mod scalar;
mod string;
mod sweep;

pub use pattern::{BLOCK_LEN, BLOCK_WORDS, Block, Pattern};
pub use string::{copy_string, fill_string};
use sweep::Sweep;

/// The vector registers that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vectors {
    /// None: general registers only.
    None,
    /// AVX2, 256 bits.
    Avx2,
    /// AVX-512 F, 512 bits.
    Avx512,
}

/// A set of loops, for processors that have the vectors.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    vectors: Vectors,
}

/// In which order blocks are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the lowest address up.
    Up,
    /// From the highest address down.
    Down,
}

/// A block that did not hold what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongBlock {
    /// Its index in the blocks that were looked at.
    pub index: usize,
    /// What it should have held.
    pub expected: Block,
    /// What it held, read once more: a word that now reads right was read wrong before.
    pub found: Block,
}

impl Kernels {
    /// The loops for these vectors.
    ///
    /// # Safety
    /// The processor has the vectors, and their registers are enabled.
    #[must_use]
    pub const unsafe fn new(vectors: Vectors) -> Self {
        Self { vectors }
    }

    /// The loops without vectors, which every processor can run.
    #[must_use]
    pub const fn scalar() -> Self {
        Self { vectors: Vectors::None }
    }

    /// The vectors in use.
    #[must_use]
    pub const fn vectors(self) -> Vectors {
        self.vectors
    }

    /// Fills blocks. The vector loops store past the caches. `pattern` stands at the first block before, and behind the
    /// last after.
    pub fn fill(self, blocks: &mut [Block], pattern: &mut Pattern) {
        if blocks.is_empty() {
            return;
        }
        let mut sweep = Sweep::new(blocks.as_mut_ptr(), blocks.len(), Direction::Up, *pattern, *pattern);
        // SAFETY: the sweep is over a slice that is borrowed mutably. `new` vouches for the vectors.
        unsafe {
            match (self.vectors, &pattern) {
                (Vectors::None, _) => scalar::fill(&mut sweep, pattern),
                (Vectors::Avx2, Pattern::Linear { .. }) => avx2::fill_linear(&mut sweep),
                (Vectors::Avx2, Pattern::Random { .. }) => avx2::fill_random(&mut sweep),
                (Vectors::Avx512, Pattern::Linear { .. }) => avx512::fill_linear(&mut sweep),
                (Vectors::Avx512, Pattern::Random { .. }) => avx512::fill_random(&mut sweep),
            }
        }
        pattern.stand_at(sweep.new);
    }

    /// Compares blocks with what they should hold, and reports each that differs, in order. `pattern` as in
    /// [`fill`](Self::fill).
    pub fn verify(self, blocks: &[Block], pattern: &mut Pattern, mut report: impl FnMut(WrongBlock)) {
        if blocks.is_empty() {
            return;
        }
        let at = blocks.as_ptr().cast_mut();
        let mut sweep = Sweep::new(at, blocks.len(), Direction::Up, *pattern, *pattern);
        while sweep.remaining > 0 {
            // SAFETY: as in `fill`, but that these loops only read.
            unsafe {
                match (self.vectors, &pattern) {
                    (Vectors::None, _) => scalar::verify(&mut sweep, pattern),
                    (Vectors::Avx2, Pattern::Linear { .. }) => avx2::verify_linear(&mut sweep),
                    (Vectors::Avx2, Pattern::Random { .. }) => avx2::verify_random(&mut sweep),
                    (Vectors::Avx512, Pattern::Linear { .. }) => avx512::verify_linear(&mut sweep),
                    (Vectors::Avx512, Pattern::Random { .. }) => avx512::verify_random(&mut sweep),
                }
            }
            pattern.stand_at(sweep.expected);
            if sweep.remaining > 0 {
                let index = blocks.len() - sweep.remaining;
                report(WrongBlock { index, expected: pattern.block(), found: blocks[index] });
                pattern.advance();
                sweep.skip();
                sweep.expected = pattern.state();
            }
        }
    }

    /// Compares each block with what it should hold and replaces it at once, block by block. Both patterns are linear,
    /// and stand at the first block to be visited; going down, their steps are those of going down.
    pub fn update(
        self,
        blocks: &mut [Block],
        direction: Direction,
        old: &mut Pattern,
        new: &mut Pattern,
        mut report: impl FnMut(WrongBlock),
    ) {
        let len = blocks.len();
        if len == 0 {
            return;
        }
        let start = match direction {
            Direction::Up => 0,
            Direction::Down => len - 1,
        };
        let at = blocks.as_mut_ptr().wrapping_add(start);
        let mut sweep = Sweep::new(at, len, direction, *old, *new);
        while sweep.remaining > 0 {
            // SAFETY: as in `fill`; the sweep visits each block of the slice once.
            unsafe {
                match self.vectors {
                    Vectors::None => scalar::update(&mut sweep, old, new),
                    Vectors::Avx2 => avx2::update_linear(&mut sweep),
                    Vectors::Avx512 => avx512::update_linear(&mut sweep),
                }
            }
            old.stand_at(sweep.expected);
            new.stand_at(sweep.new);
            if sweep.remaining > 0 {
                let visited = len - sweep.remaining;
                let index = if direction == Direction::Up { visited } else { start - visited };
                report(WrongBlock { index, expected: old.block(), found: blocks[index] });
                blocks[index] = new.block();
                old.advance();
                new.advance();
                sweep.skip();
                // The repair went through the slice, so the way goes on from a pointer that was taken after it.
                sweep.at = blocks.as_mut_ptr().wrapping_add(index).wrapping_byte_offset(sweep.stride);
                (sweep.expected, sweep.new) = (old.state(), new.state());
            }
        }
    }

    /// Copies as many blocks as both have. The vector loops store past the caches.
    pub fn copy(self, to: &mut [Block], from: &[Block]) {
        let len = to.len().min(from.len());
        if len == 0 {
            return;
        }
        // SAFETY: both slices have `len` blocks, and don't overlap since one is borrowed mutably.
        unsafe {
            match self.vectors {
                Vectors::None => string::copy_string(&mut to[..len], &from[..len]),
                Vectors::Avx2 => avx2::copy(to.as_mut_ptr(), from.as_ptr(), len),
                Vectors::Avx512 => avx512::copy(to.as_mut_ptr(), from.as_ptr(), len),
            }
        }
    }

    /// Reads all blocks, and returns the exclusive or of something of each, to show that it did.
    #[must_use]
    pub fn read(self, blocks: &[Block]) -> u64 {
        if blocks.is_empty() {
            return 0;
        }
        // SAFETY: the blocks of a slice.
        unsafe {
            match self.vectors {
                Vectors::None => scalar::read(blocks),
                Vectors::Avx2 => avx2::read(blocks.as_ptr(), blocks.len()),
                Vectors::Avx512 => avx512::read(blocks.as_ptr(), blocks.len()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
