//! The seam to physical memory that holds firmware tables.

use core::ptr::NonNull;

/// Read access to the memory of firmware tables.
///
/// # Safety
/// An implementation promises of each pointer that [`show`](Self::show) gives:
/// 1. As many bytes as were asked for can be read there, as long as `self` lives.
/// 2. Nothing in this kernel writes to them meanwhile.
pub(crate) unsafe trait FirmwareMemory {
    /// Makes `len_bytes` bytes from a physical address on readable, for ever; `None` if that is not all memory that
    /// firmware tables may lie in. Neither number is checked or aligned, their sum may overflow. The same bytes are asked
    /// for again and again, a header alone and then with its table.
    fn show(&self, physical: u64, len_bytes: u64) -> Option<NonNull<u8>>;
}

/// The bytes of firmware memory at a physical address.
pub(super) fn bytes(memory: &impl FirmwareMemory, physical: u64, len_bytes: u32) -> Option<&[u8]> {
    let start = memory.show(physical, len_bytes.into())?;
    // SAFETY: the trait's first promise, for as long as the borrow of the memory that the result keeps; the second: they
    // do not change under the reference. Any byte is valid, and a length of 32 bits fits into an `isize`.
    Some(unsafe { core::slice::from_raw_parts(start.as_ptr(), len_bytes as usize) })
}

/// Whether all bytes add up to zero, which is what makes a checksum right.
pub(super) fn sums_to_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}
