//! A block of the allocator that carries a pattern.

use super::allocator::Allocator;
use crate::execute::{Observer, WrongWord};
use core::ptr::NonNull;

const WORD_LEN: usize = size_of::<u64>();
/// What a pattern's words differ by: odd, so that no two words of a block are alike.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A block of its own, freed when it is dropped.
pub(super) struct Block<'a, A: Allocator> {
    heap: &'a A,
    start: NonNull<u8>,
    len: usize,
    seed: u64,
    /// How many of its bytes hold the pattern.
    marked: usize,
}

/// The word at an index of the pattern of a seed.
pub(super) const fn word(seed: u64, index: usize) -> u64 {
    seed.wrapping_add((index as u64).wrapping_mul(STEP))
}

impl<'a, A: Allocator> Block<'a, A> {
    /// A block that holds no pattern yet; `None` if it was refused.
    #[inline]
    pub(super) fn allocate(heap: &'a A, len: usize, seed: u64) -> Option<Self> {
        Some(Self { heap, start: heap.allocate(len)?, len, seed, marked: 0 })
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Changes the length. What of the pattern both lengths have is expected to have stayed. Says whether it was done.
    #[inline]
    pub(super) fn resize(&mut self, len: usize) -> bool {
        // SAFETY: the block is this one's, with this length, and the old address is forgotten.
        let Some(start) = (unsafe { self.heap.resize(self.start, self.len, len) }) else { return false };
        (self.start, self.len) = (start, len);
        self.marked = self.marked.min(len);
        true
    }

    /// Writes the pattern where it is not yet. Returns the bytes written.
    pub(super) fn mark(&mut self) -> u64 {
        let first = self.marked / WORD_LEN;
        for index in first..self.len.div_ceil(WORD_LEN) {
            let (at, len) = self.place(index);
            let value = word(self.seed, index);
            // SAFETY: the bytes are of this block, of which nothing is borrowed.
            unsafe {
                if len == WORD_LEN {
                    at.cast::<u64>().write(value);
                } else {
                    at.copy_from_nonoverlapping(value.to_le_bytes().as_ptr(), len);
                }
            }
        }
        let written = self.len - first * WORD_LEN;
        self.marked = self.len;
        written as u64
    }

    /// Compares what should hold the pattern with it. Returns the bytes read.
    pub(super) fn verify(&self, observer: &mut dyn Observer) -> u64 {
        for index in 0..self.marked.div_ceil(WORD_LEN) {
            let (at, _) = self.place(index);
            let len = WORD_LEN.min(self.marked - index * WORD_LEN);
            let expected = word(self.seed, index);
            // Volatile: the compiler knows what was written, and is not asked.
            // SAFETY: the bytes are of this block, and were written.
            let found = unsafe {
                if len == WORD_LEN {
                    at.cast::<u64>().read_volatile()
                } else {
                    let mut bytes = expected.to_le_bytes();
                    (0..len).for_each(|byte| bytes[byte] = at.add(byte).read_volatile());
                    u64::from_le_bytes(bytes)
                }
            };
            if found != expected {
                observer.wrong(WrongWord { address: at as u64, expected, found });
            }
        }
        self.marked as u64
    }

    /// Where the word with this index lies, and how many of its bytes the block has.
    fn place(&self, index: usize) -> (*mut u8, usize) {
        let offset = index * WORD_LEN;
        (self.start.as_ptr().wrapping_add(offset), WORD_LEN.min(self.len - offset))
    }
}

impl<A: Allocator> Drop for Block<'_, A> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the block is this one's, with this length.
        unsafe { self.heap.free(self.start, self.len) };
    }
}
