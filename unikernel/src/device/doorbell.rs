//! The doorbells of `vmm-stub`: any number of bytes for one VM exit (see [`guest_interface::record`]).

use crate::memory::address::PhysAddr;
use core::cell::UnsafeCell;
use core::sync::atomic::{Ordering, fence};
use guest_interface::record::{RECORD_LEN, Record};
use x86::io::outl;

/// A record that the VMM reads. The image is mapped one to one and lies below 4 GiB, so its address is its physical one.
#[derive(Debug)]
#[repr(C, align(16))]
pub(super) struct SharedRecord(UnsafeCell<[u8; RECORD_LEN]>);

// SAFETY: only written through `ring`, whose callers have the record to themselves.
unsafe impl Sync for SharedRecord {}

impl SharedRecord {
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new([0; RECORD_LEN]))
    }

    /// Hands bytes at a physical address to the VMM.
    ///
    /// # Safety
    /// Nobody else rings with this record meanwhile, and `port` is a doorbell that the host announced.
    pub(super) unsafe fn ring(&self, port: u16, bytes: PhysAddr, len_bytes: u32) {
        let record = Record { address: bytes.as_u64(), len_bytes };
        // SAFETY: the caller has the record to itself. Volatile, since its reader is outside of the program.
        unsafe { self.0.get().write_volatile(record.encode()) };
        // The VMM runs on this very processor when it reads, so the compiler's order is all that matters.
        fence(Ordering::SeqCst);
        // SAFETY: the caller's promise on the port; the VMM only reads memory.
        unsafe { outl(port, self.0.get() as u32) };
    }
}
