//! A terminal for a program that will not run without: Bochs's display draws on one.

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::openpty;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::Command;
use std::thread;

/// Makes a terminal the standard streams of a program. What is drawn on it goes to a file, up to 1 MiB.
///
/// # Errors
/// If there is no terminal, or no file.
pub(crate) fn give(command: &mut Command, log: &Path) -> io::Result<()> {
    const LOG_LEN_MAX: u64 = 1 << 20;
    let terminal = openpty(None, None)?;
    // Who held both ends would wait for itself.
    fcntl(&terminal.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    command.stdin(terminal.slave.try_clone()?).stdout(terminal.slave.try_clone()?).stderr(terminal.slave);
    let mut drawn = File::from(terminal.master);
    let mut log = File::create(log)?;
    thread::spawn(move || {
        // Both end with an error when the last holder of the terminal is gone.
        let _ = io::copy(&mut Read::by_ref(&mut drawn).take(LOG_LEN_MAX), &mut log);
        let _ = io::copy(&mut drawn, &mut io::sink());
    });
    Ok(())
}
