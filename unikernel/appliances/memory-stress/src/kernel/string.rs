//! Loops that are single instructions: the processor's own string operations.

use super::pattern::{BLOCK_LEN, BLOCK_WORDS, Block};
use core::arch::asm;

/// Copies as many blocks as both have, with `rep movsb`, which processors with fast string operations do by whole lines
/// (Intel Optimization Reference Manual, 3.7.6).
pub fn copy_string(to: &mut [Block], from: &[Block]) {
    let len_bytes = to.len().min(from.len()) * BLOCK_LEN;
    // SAFETY: both slices have so many bytes, and don't overlap since one is borrowed mutably. The direction flag is
    // clear by the ABI.
    unsafe {
        asm!(
            "rep movsb",
            inout("rdi") to.as_mut_ptr() => _,
            inout("rsi") from.as_ptr() => _,
            inout("rcx") len_bytes => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Fills blocks with one word, with `rep stosq`: by whole lines where the processor has fast string operations, and
/// through the caches.
pub fn fill_string(blocks: &mut [Block], word: u64) {
    // SAFETY: the slice has so many words. The direction flag is clear by the ABI.
    unsafe {
        asm!(
            "rep stosq",
            inout("rdi") blocks.as_mut_ptr() => _,
            inout("rcx") blocks.len() * BLOCK_WORDS => _,
            in("rax") word,
            options(nostack, preserves_flags),
        );
    }
}
