//! The console doorbell of `vmm-stub`: one VM exit a line (see [`guest_interface::console`]).

use core::cell::UnsafeCell;
use core::sync::atomic::{Ordering, fence};
use guest_interface::console::{ConsoleRecord, RECORD_LEN};
use x86::io::outl;

/// A record that the VMM reads. Statics are mapped one to one and lie below 4 GiB, so its address is its physical one.
#[derive(Debug)]
#[repr(C, align(16))]
pub(super) struct Record(UnsafeCell<[u8; RECORD_LEN]>);

// SAFETY: only written through `ring`, whose callers hold the console that the record belongs to.
unsafe impl Sync for Record {}

impl Record {
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new([0; RECORD_LEN]))
    }

    /// Has the VMM print `bytes`, which lie in a static.
    ///
    /// # Safety
    /// Nobody else rings with this record meanwhile, and `port` is the doorbell that the host announced.
    pub(super) unsafe fn ring(&self, port: u16, bytes: &[u8]) {
        let record = ConsoleRecord { address: bytes.as_ptr() as u64, len_bytes: bytes.len() as u32 };
        // SAFETY: the caller has the record to itself. Volatile, since its reader is outside of the program.
        unsafe { self.0.get().write_volatile(record.encode()) };
        // The VMM runs on this very processor when it reads, so the compiler's order is all that matters.
        fence(Ordering::SeqCst);
        // SAFETY: the caller's promise on the port; the VMM only reads memory.
        unsafe { outl(port, self.0.get() as u32) };
    }
}
