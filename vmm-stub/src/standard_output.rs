//! Whether this process was started with a standard output.
//!
//! Rust's runtime puts `/dev/null` in the place of a standard stream that is closed, before `main`. That can't be told from
//! one that was meant: others open it for reading and writing, too. So the look is taken earlier.

use nix::fcntl::OFlag;
use nix::libc;
use std::sync::atomic::{AtomicI32, Ordering};

const CLOSED: i32 = -1;

/// The flags that it was opened with, or [`CLOSED`].
static FLAGS: AtomicI32 = AtomicI32::new(CLOSED);

/// A constructor of the System V ABI ("Initialization and Termination Functions"): the C library calls it before `main`.
// SAFETY: the section holds pointers to functions that can be called with C's ABI, and this is one. What it calls needs
// nothing of Rust's runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Relaxed suffices: there is one thread yet.
extern "C" fn look() {
    // SAFETY: reads the flags of a descriptor, or fails.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFL) };
    FLAGS.store(flags, Ordering::Relaxed);
}

/// Whether it was open for writing.
pub(crate) fn can_be_written() -> bool {
    allow_writing(FLAGS.load(Ordering::Relaxed))
}

fn allow_writing(flags: i32) -> bool {
    let access = OFlag::from_bits_retain(flags) & OFlag::O_ACCMODE;
    flags != CLOSED && [OFlag::O_WRONLY, OFlag::O_RDWR].contains(&access)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_or_opened_for_reading_can_not_be_written() {
        for (flags, expected) in [
            (CLOSED, false),
            (libc::O_RDONLY, false),
            (libc::O_RDONLY | libc::O_APPEND, false),
            (libc::O_WRONLY, true),
            (libc::O_WRONLY | libc::O_APPEND | libc::O_NONBLOCK, true),
            (libc::O_RDWR, true),
        ] {
            assert_eq!(allow_writing(flags), expected, "{flags:#x}");
        }
    }
}
