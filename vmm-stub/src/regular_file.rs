//! Opens files that a user names and that are read whole or by offset: regular ones, no devices or pipes, which may never end.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a file for reading. Returns it with its length in bytes, or `None` if it is not a regular file.
///
/// # Errors
/// What the system says.
pub(crate) fn open(path: &Path) -> io::Result<Option<(File, u64)>> {
    // Not blocking, because opening a FIFO would otherwise wait for a writer.
    let non_blocking = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(non_blocking).open(path)?;
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some((file, metadata.len())))
}
