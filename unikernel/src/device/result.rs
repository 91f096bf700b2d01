//! The result channel: hands a document of the application's to a file on the host (see
//! [`guest_interface::result`]).

use super::debug_console;
use super::doorbell::SharedRecord;
use core::sync::atomic::{AtomicU16, Ordering};
use guest_interface::debug_stream::result_header;
use guest_interface::result::RESULT_LEN_MAX;
use spin::Mutex;

/// Port of the result doorbell, 0 as long as none was announced.
static PORT: AtomicU16 = AtomicU16::new(0);

/// Held while a document is handed over, so that each arrives whole.
static RECORD: Mutex<SharedRecord> = Mutex::new(SharedRecord::new());

/// Hands documents over through the doorbell at this port.
pub(crate) fn use_doorbell(port: u16) {
    PORT.store(port, Ordering::Relaxed);
}

/// Hands over a document, which replaces the one before; whether anybody took it.
///
/// Nobody does on a host without the channel, or where no result was asked for, and nobody takes a document of more than
/// [`RESULT_LEN_MAX`] bytes. QEMU takes it always, since it can't tell whether somebody asked.
///
/// The document must lie in memory that is mapped one to one, as heap and statics are: the host finds it by its physical
/// address. From elsewhere it would get other bytes, or none.
pub fn publish(document: &str) -> bool {
    if document.len() > RESULT_LEN_MAX {
        return false;
    }
    let record = RECORD.lock();
    match PORT.load(Ordering::Relaxed) {
        // SAFETY: the lock keeps others from this record; the host announced the port.
        port @ 1.. => unsafe { record.ring(port, document.as_bytes()) },
        0 if debug_console::is_present() => {
            debug_console::send(&result_header(document.len() as u32));
            debug_console::send(document.as_bytes());
        }
        0 => return false,
    }
    true
}
