//! Panics, and the allocation failures that Rust's `alloc` turns into panics.

use super::backtrace::Backtrace;
use crate::cpu::interrupts;
use crate::device::console::print_emergency;
use crate::device::exit;
use crate::heap::PagesInUse;
use crate::memory::heap::FailedAllocation;
use crate::memory::live::heap::HEAP;
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering};
use guest_interface::status::KernelStatus;

/// Panics so far. More than one means that reporting the first has failed.
static PANICS: AtomicU32 = AtomicU32::new(0);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // A timer's function must not come between the lines of the report.
    interrupts::mask_for_ever();
    let failure = out_of_memory(info);
    let nested = PANICS.fetch_add(1, Ordering::Relaxed) > 0;
    if nested {
        // SAFETY: as below.
        unsafe { print_emergency(format_args!("\npanic while reporting a panic\n")) };
    } else {
        let backtrace = Backtrace::here();
        // SAFETY: panics never return, so whoever printed on the emergency console is gone.
        unsafe {
            match failure {
                Some(failure) => print_emergency(format_args!(
                    "out of memory: {failure}\n{PagesInUse}backtrace:\n{backtrace}"
                )),
                None => print_emergency(format_args!("{info}\nbacktrace:\n{backtrace}")),
            }
        }
    }
    exit::kernel(if failure.is_some() { KernelStatus::OutOfMemory } else { KernelStatus::Panic })
}

/// The failed allocation, if that is what the panic is about.
///
/// `alloc`'s own handler of allocation errors, the only one there is on stable Rust, panics with a message that holds the
/// size. It is told from another panic by that message and the failure that the heap has kept.
fn out_of_memory(info: &PanicInfo<'_>) -> Option<FailedAllocation> {
    let failure = HEAP.latest_failure()?;
    let expected =
        ShortText::new(format_args!("memory allocation of {} bytes failed", failure.layout.size()))?;
    let actual = ShortText::new(format_args!("{}", info.message()))?;
    (expected.bytes == actual.bytes).then_some(failure)
}

/// A short text in a fixed buffer; writing a longer one fails.
struct ShortText {
    bytes: [u8; 80],
    len: usize,
}

impl ShortText {
    /// The text, or `None` if it is too long.
    fn new(arguments: fmt::Arguments<'_>) -> Option<Self> {
        let mut text = Self { bytes: [0; 80], len: 0 };
        text.write_fmt(arguments).ok()?;
        Some(text)
    }
}

impl Write for ShortText {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + piece.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(piece.as_bytes());
        self.len += piece.len();
        Ok(())
    }
}
