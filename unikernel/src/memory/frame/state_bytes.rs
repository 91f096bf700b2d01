//! The states of many frames at once, while nobody else looks at them: a machine's whole RAM is registered at its start,
//! and byte by byte that would take longer than all the rest.

use crate::memory::atomic::AtomicU8;
#[cfg(loom)]
use crate::memory::atomic::Ordering;

/// Index of the first byte that differs.
///
/// # Safety
/// Nobody writes the bytes meanwhile.
#[cfg(not(loom))]
pub(super) unsafe fn first_other_than(states: &[AtomicU8], byte: u8) -> Option<usize> {
    // SAFETY: an atomic byte is laid out as a byte, and nobody writes these.
    let bytes = unsafe { core::slice::from_raw_parts(states.as_ptr().cast::<u8>(), states.len()) };
    let word = u64::from_ne_bytes([byte; 8]);
    let (words, _) = bytes.as_chunks::<8>();
    let alike = words.iter().take_while(|chunk| u64::from_ne_bytes(**chunk) == word).count() * 8;
    bytes[alike..].iter().position(|other| *other != byte).map(|index| alike + index)
}

/// Writes all bytes.
///
/// # Safety
/// Nobody reads or writes the bytes meanwhile.
#[cfg(not(loom))]
pub(super) unsafe fn fill(states: &[AtomicU8], byte: u8) {
    // SAFETY: an atomic byte is laid out as a byte that may be written through a shared reference, and nobody looks at these.
    unsafe { core::ptr::write_bytes(states.as_ptr().cast::<u8>().cast_mut(), byte, states.len()) };
}

/// The same for the model checker, whose atomics are no bytes.
///
/// # Safety
/// As above.
#[cfg(loom)]
pub(super) unsafe fn first_other_than(states: &[AtomicU8], byte: u8) -> Option<usize> {
    states.iter().position(|state| state.load(Ordering::Relaxed) != byte)
}

/// The same for the model checker.
///
/// # Safety
/// As above.
#[cfg(loom)]
pub(super) unsafe fn fill(states: &[AtomicU8], byte: u8) {
    states.iter().for_each(|state| state.store(byte, Ordering::Relaxed));
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::sync::atomic::Ordering;

    #[test]
    fn the_first_byte_that_differs_is_found_anywhere() {
        for len in [0, 1, 7, 8, 9, 63, 64, 65, 200] {
            let states: Vec<AtomicU8> = (0..len).map(|_| AtomicU8::new(0xff)).collect();
            // SAFETY: they are this test's.
            unsafe { fill(&states, 5) };
            // SAFETY: as above.
            assert_eq!(unsafe { first_other_than(&states, 5) }, None);
            for index in 0..len {
                states[index].store(6, Ordering::Relaxed);
                // SAFETY: as above.
                assert_eq!(unsafe { first_other_than(&states, 5) }, Some(index), "of {len}");
                states[index].store(5, Ordering::Relaxed);
            }
        }
    }
}
