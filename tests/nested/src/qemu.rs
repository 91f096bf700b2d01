//! QEMU's TCG, which emulates an AMD processor with SVM and nested paging.

use crate::error::Error;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = "qemu-system-x86_64";

/// Starts a machine with this kernel, its console in a file.
///
/// # Errors
/// [`Error::MissingProgram`], [`Error::File`].
pub(crate) fn start(
    kernel: &Path,
    initramfs: &Path,
    command_line: &str,
    console: &Path,
    log: &Path,
) -> Result<Child, Error> {
    let complaints = File::create(log).map_err(Error::file(log, "made"))?;
    let mut serial = std::ffi::OsString::from("file:");
    serial.push(console);
    let mut command = Command::new(PROGRAM);
    command
        // Linux has page tables of 4 levels, as its KVM gives to guests.
        .args(["-accel", "tcg", "-cpu", "max,-la57", "-machine", "q35"])
        // More than one processor hangs in QEMU 7.2; with less than 512 MiB Linux has no transparent huge pages.
        .args(["-smp", "1", "-m", "8192"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        .arg("-serial")
        .arg(serial)
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", command_line])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(complaints);
    match command.spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::MissingProgram {
            program: PROGRAM.to_owned(),
            advice: "install it with `apt-get install qemu-system-x86`",
        }),
        result => result.map_err(Error::file(PROGRAM, "started")),
    }
}
