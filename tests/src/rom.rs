//! Machines of QEMU that start with the ROM, in place of the firmware that QEMU brings.

use crate::artifact::Artifacts;
use crate::lane::Lane;
use crate::qemu::{Accelerator, Qemu};
use crate::verdict::Failure;

/// Lanes of the ROM.
pub const LANES: [Lane; 3] = [Lane::QemuMicrovm, Lane::QemuQ35, Lane::QemuPc];

/// A machine of one of [`LANES`], with this much RAM as QEMU takes it, and nothing to boot.
///
/// # Errors
/// If the ROM has not been built.
pub fn machine(artifacts: &Artifacts, lane: Lane, memory: &str) -> Result<Qemu, Failure> {
    let rom = artifacts.rom().map_err(|missing| Failure::new(missing.to_string()))?;
    let machine = match lane {
        Lane::QemuPc => "pc",
        Lane::QemuQ35 => "q35",
        _ => "microvm,rtc=off,acpi=off,pit=on,isa-serial=on,auto-kernel-cmdline=off",
    };
    Ok(Qemu::new(Accelerator::Tcg, machine, memory).option("-bios", rom))
}
