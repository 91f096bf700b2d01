//! QEMU's TCG, which emulates an AMD processor with SVM and nested paging.

use crate::emulator;
use crate::error::Error;
use crate::machine::{COMMAND_LINE, Machine};
use std::ffi::OsString;
use std::fs::File;
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = "qemu-system-x86_64";

/// Starts a machine.
///
/// # Errors
/// [`Error::MissingProgram`], [`Error::File`].
pub(crate) fn start(machine: &Machine) -> Result<Child, Error> {
    let complaints = File::create(&machine.log).map_err(Error::file(&machine.log, "made"))?;
    let mut serial = OsString::from("file:");
    serial.push(&machine.console);
    let mut command = Command::new(PROGRAM);
    command
        // Linux has page tables of 4 levels, as its KVM gives to guests.
        .args(["-accel", "tcg", "-cpu", "max,-la57", "-machine", "q35"])
        // More than one processor hangs in QEMU 7.2. The largest guests have 6 GiB; what none touches costs nothing.
        .args(["-smp", "1", "-m", "8192"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        .arg("-serial")
        .arg(serial)
        .arg("-kernel")
        .arg(&machine.kernel)
        .arg("-initrd")
        .arg(&machine.initramfs)
        .args(["-append", COMMAND_LINE])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(complaints);
    match emulator::spawn(&mut command) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::MissingProgram {
            program: PROGRAM.to_owned(),
            advice: "install it with `apt-get install qemu-system-x86`",
        }),
        result => result.map_err(Error::file(PROGRAM, "started")),
    }
}
