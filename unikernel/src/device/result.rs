//! The result channel: hands a document of the application's to a file on the host (see
//! [`guest_interface::result`]).

use super::debug_console;
use super::doorbell::SharedRecord;
use crate::memory::frame::OutOfFrames;
use crate::memory::live::{Live, SharedPages};
use guest_interface::debug_stream::result_header;
use guest_interface::result::RESULT_LEN_MAX;
use spin::Mutex;

/// Held while a document is handed over, so that each arrives whole.
static CHANNEL: Mutex<Option<Channel>> = Mutex::new(None);

/// The way to a host with a result doorbell.
struct Channel {
    port: u16,
    record: &'static SharedRecord,
    /// Where the host finds the document: an application's own memory need not be contiguous to the host.
    pages: SharedPages,
}

/// Hands documents over through the doorbell at this port.
///
/// # Errors
/// [`OutOfFrames`] for the longest document.
pub(crate) fn use_doorbell(machine: Live, port: u16) -> Result<(), OutOfFrames> {
    static RECORD: SharedRecord = SharedRecord::new();
    let pages = SharedPages::take(machine, "pages shared with the host", RESULT_LEN_MAX as u64)?;
    *CHANNEL.lock() = Some(Channel { port, record: &RECORD, pages });
    Ok(())
}

/// Hands over a document, which replaces the one before; whether anybody took it.
///
/// Nobody does on a host without the channel, or where no result was asked for, and nobody takes a document of more than
/// [`RESULT_LEN_MAX`] bytes. QEMU takes it always, since it can't tell whether somebody asked.
pub fn publish(document: &str) -> bool {
    if document.len() > RESULT_LEN_MAX {
        return false;
    }
    match &mut *CHANNEL.lock() {
        Some(channel) => {
            let Some(shared) = channel.pages.write(document.as_bytes()) else { return false };
            // SAFETY: the lock keeps others from this record; the host announced the port.
            unsafe { channel.record.ring(channel.port, shared, document.len() as u32) };
        }
        None if debug_console::is_present() => {
            debug_console::send(&result_header(document.len() as u32));
            debug_console::send(document.as_bytes());
        }
        None => return false,
    }
    true
}
