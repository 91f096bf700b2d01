//! The machine's memory as the page tables in the head map it: every physical address below 1 GiB at itself.

use freehold_rom::low_memory::{self, LowMemory};
use freehold_rom::ram::{self, Ram};

/// All memory but the stack.
pub(super) struct Memory {
    /// What the ROM works in.
    pub(super) low: &'static mut LowMemory,
    /// What a kernel is loaded into.
    pub(super) high: HighMemory,
}

/// The memory above 1 MiB.
pub(super) struct HighMemory(());

impl Memory {
    /// The memory.
    ///
    /// # Safety
    /// Must be called at most once, with the stack below [`low_memory::STACK`].
    pub(super) unsafe fn take() -> Self {
        let low = core::ptr::with_exposed_provenance_mut::<LowMemory>(low_memory::STACK as usize);
        // SAFETY: it is mapped, at the start of a page; any bytes are a value of the type; the stack is below it, the high
        // memory begins above it, and by the caller's word no other reference to it exists. The ROM's own text is elsewhere.
        Self { low: unsafe { &mut *low }, high: HighMemory(()) }
    }
}

impl Ram for HighMemory {
    fn bytes(&mut self, address: u32, len: u32) -> Option<&mut [u8]> {
        let end = address.checked_add(len)?;
        if address < ram::START || end > ram::END {
            return None;
        }
        let start = core::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: all of it is mapped and above what the ROM itself uses; `self` is the only value of its type, so the borrow
        // keeps every other such slice away.
        Some(unsafe { core::slice::from_raw_parts_mut(start, len as usize) })
    }
}
