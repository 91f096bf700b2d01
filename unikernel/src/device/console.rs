//! The console: lines of text to whoever watches the machine.
//!
//! There are two consoles with a buffer each. The ordinary one is locked by who prints. The emergency one is for faults
//! and panics, which may have struck while the other was held: it waits for nobody.

use super::doorbell::SharedRecord;
use super::serial::Serial;
use crate::memory::address::PhysAddr;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use spin::Mutex;

/// Bytes gathered before they are sent, if no line ends before.
const BUFFER_LEN: usize = 1024;
const _: () = assert!(BUFFER_LEN <= guest_interface::console::LINE_LEN_MAX);

static ORDINARY: Mutex<Console> = Mutex::new(Console::new(&ORDINARY_RECORD));
static ORDINARY_RECORD: SharedRecord = SharedRecord::new();
static EMERGENCY: Mutex<Console> = Mutex::new(Console::new(&EMERGENCY_RECORD));
static EMERGENCY_RECORD: SharedRecord = SharedRecord::new();

/// Port of the doorbell, 0 as long as none was announced.
static DOORBELL_PORT: AtomicU16 = AtomicU16::new(0);

static TERMINAL: AtomicBool = AtomicBool::new(false);

/// A line under construction, and where it goes.
#[derive(Debug)]
pub struct Console {
    buffer: [u8; BUFFER_LEN],
    len: usize,
    record: &'static SharedRecord,
    serial: Option<Serial>,
}

/// Sends all further output through a doorbell. Without one it goes to the 16550.
pub(crate) fn use_doorbell(port: u16) {
    DOORBELL_PORT.store(port, Ordering::Relaxed);
}

/// The port of the console doorbell, if the host has announced one.
#[must_use]
pub fn doorbell_port() -> Option<u16> {
    Some(DOORBELL_PORT.load(Ordering::Relaxed)).filter(|&port| port != 0)
}

/// Records that the console ends at a terminal.
pub(crate) fn set_terminal() {
    TERMINAL.store(true, Ordering::Relaxed);
}

/// Whether the console ends at a terminal, by what the command line says: then somebody watches, and a line may be
/// written over by a carriage return.
#[must_use]
pub fn is_terminal() -> bool {
    TERMINAL.load(Ordering::Relaxed)
}

/// Runs `work` with the console locked, so that what it writes stays together.
///
/// `work` must not print in any other way: the lock is not reentrant.
pub fn with_lock<R>(work: impl FnOnce(&mut Console) -> R) -> R {
    work(&mut ORDINARY.lock())
}

/// Prints on the ordinary console; see [`print!`](crate::print).
pub fn print(arguments: fmt::Arguments<'_>) {
    // Writing to the console never fails; an error here is that of a value's own formatting.
    let _ = with_lock(|console| console.write_fmt(arguments));
}

/// Sends what was printed since the last line end.
pub fn flush() {
    with_lock(Console::flush);
}

/// Prints without waiting for anybody. A line begun on the ordinary console is sent first when nobody holds that.
///
/// # Safety
/// Whoever holds the emergency console never runs again: it is this processor, which has faulted or panicked.
pub(crate) unsafe fn print_emergency(arguments: fmt::Arguments<'_>) {
    if let Some(mut console) = ORDINARY.try_lock() {
        console.flush();
    }
    // SAFETY: the caller's promise. What its holder had in the buffer is sent first.
    unsafe { EMERGENCY.force_unlock() };
    let mut console = EMERGENCY.lock();
    let _ = console.write_fmt(arguments);
    console.flush();
}

impl Console {
    const fn new(record: &'static SharedRecord) -> Self {
        Self { buffer: [0; BUFFER_LEN], len: 0, record, serial: None }
    }

    /// Sends what is in the buffer.
    pub fn flush(&mut self) {
        let bytes = &self.buffer[..self.len];
        if bytes.is_empty() {
            return;
        }
        match doorbell_port() {
            Some(port) => {
                // Consoles are statics, and the image is mapped one to one.
                let start = PhysAddr::new(bytes.as_ptr() as u64);
                // SAFETY: the record belongs to this console, which is borrowed mutably; the host announced the port.
                unsafe { self.record.ring(port, start, bytes.len() as u32) };
            }
            None => self.serial.get_or_insert_with(Serial::new).write(bytes),
        }
        self.len = 0;
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for line in text.as_bytes().split_inclusive(|byte| *byte == b'\n') {
            for piece in line.chunks(BUFFER_LEN) {
                if piece.len() > BUFFER_LEN - self.len {
                    self.flush();
                }
                self.buffer[self.len..self.len + piece.len()].copy_from_slice(piece);
                self.len += piece.len();
            }
            if line.ends_with(b"\n") {
                self.flush();
            }
        }
        Ok(())
    }
}

/// Prints on the console. The text is sent at the end of each line.
#[macro_export]
macro_rules! print {
    ($($arguments:tt)*) => { $crate::device::console::print(::core::format_args!($($arguments)*)) };
}

/// Prints a line on the console.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($arguments:tt)*) => { $crate::device::console::print(::core::format_args!("{}\n", ::core::format_args!($($arguments)*))) };
}
