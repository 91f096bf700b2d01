//! Little-endian fields of the structures that VMMs and firmware give.

/// The 32-bit field at `offset`; bytes beyond the end read as zero.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u64_at(bytes, offset) as u32
}

/// The 64-bit field at `offset`; bytes beyond the end read as zero.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut word = [0; 8];
    for (byte, source) in word.iter_mut().zip(bytes.iter().skip(offset)) {
        *byte = *source;
    }
    u64::from_le_bytes(word)
}
