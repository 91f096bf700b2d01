//! QEMU as others than `vmm-stub` start it: by a disk, with acceleration, or with files for the guest.

use crate::process::Running;
use crate::verdict::{Failure, Verdict};
use guest_interface::ports;
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

    /// With a raw disk, which stays as it is.
    #[must_use]
    pub fn disk(mut self, disk: &Path) -> Self {
        self.command
            .arg("-drive")
            .arg(format!("file={},format=raw,snapshot=on", value(&disk.display().to_string())));
        self
    }

    /// With an image that QEMU loads, and the command line for it.
    #[must_use]
    pub fn kernel(mut self, image: &Path, command_line: &str) -> Self {
        self.command.arg("-kernel").arg(image).args(["-append", command_line]);
        self
    }

    /// With a file for the guest, by the content of one of the host's.
    #[must_use]
    pub fn file(mut self, name: &str, content: &Path) -> Self {
        self.command
            .arg("-fw_cfg")
            .arg(format!("name={name},file={}", value(&content.display().to_string())));
        self
    }

    /// With a file for the guest that holds this text.
    #[must_use]
    pub fn text(mut self, name: &str, text: &str) -> Self {
        self.command.arg("-fw_cfg").arg(format!("name={name},string={}", value(text)));
        self
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

/// A value in an option of QEMU's, where a comma ends it unless it is doubled.
fn value(text: &str) -> String {
    text.replace(',', ",,")
}
