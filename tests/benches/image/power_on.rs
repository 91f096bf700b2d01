//! Machines of QEMU, without KVM, from power-on to their end.

use crate::Result;
use guest_interface::ports;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What a machine takes at most, in seconds.
const LIMIT: &str = "60";

/// What QEMU ends with when its guest ends with 0.
const SUCCESS: i32 = 1;

/// A machine of QEMU's that ends when its guest does.
pub(crate) fn machine(name: &str) -> Command {
    let exit = format!("isa-debug-exit,iobase={:#x},iosize=0x04", ports::EXIT);
    let mut command = Command::new("timeout");
    command.args([LIMIT, "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-M", name, "-m", "256M"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]);
    command.args(["-device", &exit]);
    command
}

/// Adds a disk.
pub(crate) fn with_disk(mut command: Command, disk: &Path) -> Command {
    command.arg("-drive").arg(format!("file={},format=raw,snapshot=on", disk.display()));
    command
}

/// Adds what an option of QEMU's takes.
pub(crate) fn with(mut command: Command, option: &str, file: &Path) -> Command {
    command.arg(option).arg(file);
    command
}

/// Milliseconds from the start of the process to its end.
pub(crate) fn milliseconds(command: &mut Command) -> Result<f64> {
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let output = command.output()?;
    let time = start.elapsed();
    if output.status.code() != Some(SUCCESS) {
        let said = String::from_utf8_lossy(&output.stdout);
        return Err(format!("ended with {}: {}", output.status, said.trim()).into());
    }
    Ok(time.as_secs_f64() * 1e3)
}
