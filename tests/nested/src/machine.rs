//! The emulated machine: what it boots, and where it prints.

use crate::error::Error;
use crate::lane::Lane;
use crate::packages::Packages;
use crate::{bochs, qemu};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

/// Mitigations would only cost time; without them the nested guests see an ordinary processor all the same. What KVM
/// stumbles over shall end the kernel.
pub(crate) const COMMAND_LINE: &str = "console=ttyS0 mitigations=off nokaslr quiet oops=panic panic=-1";

/// Files of the machine.
pub(crate) struct Machine {
    /// Folder of the files that are made for it.
    pub(crate) folder: PathBuf,
    /// The kernel.
    pub(crate) kernel: PathBuf,
    /// The archive with the first root file system, in the folder.
    pub(crate) initramfs: PathBuf,
    /// What the serial console prints, in the folder.
    pub(crate) console: PathBuf,
    /// What the emulator itself says, in the folder.
    pub(crate) log: PathBuf,
}

impl Machine {
    /// Names the files for a lane in a folder.
    pub(crate) fn new(lane: Lane, folder: &Path, kernel: PathBuf) -> Self {
        let name = lane.name();
        Self {
            folder: folder.to_owned(),
            kernel,
            initramfs: folder.join(format!("{name}.cpio")),
            console: folder.join(format!("{name}-console.log")),
            log: folder.join(format!("{name}-emulator.log")),
        }
    }

    /// Starts the emulator of a lane.
    ///
    /// # Errors
    /// If it or what it needs is missing, or can't be started.
    pub(crate) fn start(&self, lane: Lane, packages: &Packages) -> Result<Child, Error> {
        match lane {
            Lane::Npt => qemu::start(self),
            Lane::Ept => bochs::start(self, &packages.bochs()?),
        }
    }

    /// The end of what the emulator itself has said, and where more is.
    pub(crate) fn last_words(&self) -> String {
        const SHOWN: usize = 3;
        let said = fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(SHOWN)..].join("; ");
        format!("\"{last}\"; see '{}' and '{}'", self.log.display(), self.console.display())
    }
}
