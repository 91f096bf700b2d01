//! QEMU as others than `vmm-stub` start it: by a disk, with acceleration, or with files for the guest.

use crate::process::Running;
use crate::verdict::{Failure, Verdict};
use guest_interface::ports;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What executes a guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU itself.
    Tcg,
    /// The machine's KVM.
    Kvm,
}

impl Accelerator {
    /// KVM_PVM refuses the value that QEMU has for IA32_ARCH_CAPABILITIES, and QEMU then aborts.
    const fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Tcg => ["-accel", "tcg", "-cpu", "max"],
            Self::Kvm => ["-accel", "kvm", "-cpu", "host,-arch-capabilities"],
        }
    }
}

/// Options of QEMU's `-drive` for a raw disk that nothing is written to.
pub const RAW_DISK: &str = "format=raw,snapshot=on";

/// A guest of QEMU's. The status that is judged is QEMU's: see [`qemu_status`](crate::disk::qemu_status).
#[derive(Debug)]
pub struct Qemu {
    command: Command,
}

impl Qemu {
    /// A machine by QEMU's name, with so much memory, as `-m` takes it, its serial port at stdout, and a port to exit by.
    #[must_use]
    pub fn new(accelerator: Accelerator, machine: &str, memory: &str) -> Self {
        let exit = format!("isa-debug-exit,iobase={:#x},iosize=0x04", ports::EXIT);
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(accelerator.arguments())
            .args(["-M", machine, "-m", memory])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"])
            .args(["-device", &exit]);
        Self { command }
    }

    /// With an option of QEMU's.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.arg(name).arg(value);
        self
    }

    /// With a raw disk, which stays as it is.
    #[must_use]
    pub fn disk(self, disk: &Path) -> Self {
        self.drive(disk, RAW_DISK)
    }

    /// With a drive that has these options of QEMU's `-drive`.
    #[must_use]
    pub fn drive(self, image: &Path, options: &str) -> Self {
        self.option("-drive", format!("file={},{options}", escaped_path(image)))
    }

    /// With an image that QEMU loads.
    #[must_use]
    pub fn kernel(self, image: &Path) -> Self {
        self.option("-kernel", image)
    }

    /// With a command line for the image that QEMU loads.
    #[must_use]
    pub fn command_line(self, line: &str) -> Self {
        self.option("-append", line)
    }

    /// With a file of fw_cfg that has the content of one of the host's.
    #[must_use]
    pub fn file(self, name: &str, content: &Path) -> Self {
        self.option("-fw_cfg", format!("name={name},file={}", escaped_path(content)))
    }

    /// With a file of fw_cfg that has this content.
    #[must_use]
    pub fn text(self, name: &str, content: &str) -> Self {
        self.option("-fw_cfg", format!("name={name},string={}", escaped(content)))
    }

    /// Runs the guest to its end.
    ///
    /// # Errors
    /// If QEMU can't be started, or does not end by itself within `limit`.
    pub fn end(mut self, limit: Duration) -> Result<Verdict, Failure> {
        let running = Running::start(&mut self.command).map_err(Failure::start)?;
        Verdict::new(&self.command, running.end(limit))
    }
}

/// A comma ends a value of QEMU's, unless it is doubled.
fn escaped(text: &str) -> String {
    text.replace(',', ",,")
}

fn escaped_path(path: &Path) -> String {
    escaped(&path.display().to_string())
}
