//! QEMU's debug console: a port that takes a byte at a time, read by whoever started QEMU (see
//! [`guest_interface::debug_stream`]).

use guest_interface::ports::{DEBUGCON, DEBUGCON_PRESENT};
use x86::io::{inb, outb};

/// Whether this machine has one.
pub(super) fn is_present() -> bool {
    // SAFETY: where QEMU's device is not, this port is nobody's, and reading it has no effect.
    unsafe { inb(DEBUGCON) == DEBUGCON_PRESENT }
}

/// Sends bytes through a debug console that is present.
pub(super) fn send(bytes: &[u8]) {
    for byte in bytes {
        // SAFETY: the device does nothing but pass the byte on.
        unsafe { outb(DEBUGCON, *byte) };
    }
}
