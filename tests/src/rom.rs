//! Machines of QEMU that start with the ROM, in place of the firmware that QEMU brings.

use crate::artifact::Artifacts;
use crate::lane::Lane;
use crate::process::Running;
use crate::verdict::{Failure, Verdict};
use guest_interface::ports;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Lanes of the ROM.
pub const LANES: [Lane; 3] = [Lane::QemuMicrovm, Lane::QemuQ35, Lane::QemuPc];

/// How long a machine may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A machine to be.
pub struct Machine {
    command: Command,
}

impl Machine {
    /// A machine of one of [`LANES`], with this much RAM as QEMU takes it, and nothing to boot.
    ///
    /// # Errors
    /// If the ROM has not been built.
    pub fn new(artifacts: &Artifacts, lane: Lane, memory: &str) -> Result<Self, Failure> {
        let rom = artifacts.rom().map_err(|missing| Failure::new(missing.to_string()))?;
        let machine = match lane {
            Lane::QemuPc => "pc",
            Lane::QemuQ35 => "q35",
            _ => "microvm,rtc=off,acpi=off,pit=on,isa-serial=on,auto-kernel-cmdline=off",
        };
        let exit = format!("isa-debug-exit,iobase={:#x},iosize=0x04", ports::EXIT);
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-accel", "tcg", "-cpu", "max", "-M", machine, "-m", memory])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"])
            .args(["-device", &exit, "-bios"])
            .arg(rom);
        Ok(Self { command })
    }

    /// Adds an option of QEMU's.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.arg(name).arg(value);
        self
    }

    /// Adds a kernel that QEMU loads.
    #[must_use]
    pub fn kernel(self, kernel: &Path) -> Self {
        self.option("-kernel", kernel)
    }

    /// Adds an IDE disk, which `pc` has.
    #[must_use]
    pub fn ide_disk(self, disk: &Path) -> Self {
        self.option("-drive", format!("file={},format=raw,snapshot=on", escaped(disk)))
    }

    /// Adds a file of fw_cfg with the content of a file.
    #[must_use]
    pub fn file(self, name: &str, content: &Path) -> Self {
        self.option("-fw_cfg", format!("name={name},file={}", escaped(content)))
    }

    /// Adds a file of fw_cfg with this content.
    #[must_use]
    pub fn text(self, name: &str, content: &str) -> Self {
        self.option("-fw_cfg", format!("name={name},string={}", content.replace(',', ",,")))
    }

    /// Boots it to its end. The status that is judged is QEMU's, [`qemu_status`](crate::disk::qemu_status).
    ///
    /// # Errors
    /// If QEMU can't be started, or does not end by itself.
    pub fn end(mut self) -> Result<Verdict, Failure> {
        let running = Running::start(&mut self.command).map_err(Failure::start)?;
        Verdict::new(&self.command, running.end(LIMIT))
    }
}

/// A comma ends a value of QEMU's, unless it is doubled.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
