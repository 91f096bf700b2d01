//! Stacks with a guard page, and the one that kernel and application run on.

use super::{AddressRange, PAGE_LEN};
use core::cell::UnsafeCell;

/// Length of the guard in bytes.
pub(crate) const GUARD_LEN: usize = PAGE_LEN as usize;

/// Length in bytes of the boot stack.
pub(crate) const BOOT_STACK_LEN: usize = 256 << 10;

/// The stack that the head of the image switches to, on which kernel and application run.
pub(crate) static BOOT_STACK: GuardedStack<BOOT_STACK_LEN> = GuardedStack::new();

/// A stack of `LEN` bytes above a page that is never mapped, so that an overflow faults.
#[repr(C, align(4096))]
pub(crate) struct GuardedStack<const LEN: usize> {
    guard: UnsafeCell<[u8; GUARD_LEN]>,
    stack: UnsafeCell<[u8; LEN]>,
}

// SAFETY: Rust code only takes addresses of it. The bytes are the stack of the one processor that was given it.
unsafe impl<const LEN: usize> Sync for GuardedStack<LEN> {}

impl<const LEN: usize> GuardedStack<LEN> {
    pub(crate) const fn new() -> Self {
        const { assert!(LEN > 0 && LEN.is_multiple_of(GUARD_LEN)) };
        Self { guard: UnsafeCell::new([0; GUARD_LEN]), stack: UnsafeCell::new([0; LEN]) }
    }

    /// The guard page.
    pub(crate) fn guard(&self) -> AddressRange {
        let start = self.guard.get() as u64;
        start..start + GUARD_LEN as u64
    }

    /// The stack above it, whose end is the initial stack pointer.
    pub(crate) fn stack(&self) -> AddressRange {
        let start = self.stack.get() as u64;
        start..start + LEN as u64
    }
}
