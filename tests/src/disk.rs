//! Disk images, made by `disk-image` and booted by a BIOS, QEMU's machines with SeaBIOS, or by UEFI firmware, OVMF.

use crate::artifact::Artifacts;
use crate::lane::Lane;
use crate::ovmf::Ovmf;
use crate::process::Running;
use crate::qemu::{Accelerator, Qemu};
use crate::verdict::{Failure, Verdict};
use guest_interface::status::from_qemu;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long the tool may take.
const TOOL_LIMIT: Duration = Duration::from_secs(20);

/// Lanes with a BIOS.
pub const LANES: [Lane; 2] = [Lane::QemuPc, Lane::QemuQ35];

/// Runs `disk-image` to its end.
///
/// # Errors
/// If it can't be started, or does not end in an orderly way.
pub fn tool<I: AsRef<OsStr>>(
    artifacts: &Artifacts,
    arguments: impl IntoIterator<Item = I>,
) -> Result<Verdict, Failure> {
    tool_with(artifacts, arguments, &[])
}

/// Runs `disk-image` to its end, with these variables in its environment.
///
/// # Errors
/// As [`tool`].
pub fn tool_with<I: AsRef<OsStr>>(
    artifacts: &Artifacts,
    arguments: impl IntoIterator<Item = I>,
    environment: &[(&str, &Path)],
) -> Result<Verdict, Failure> {
    let program = artifacts.disk_image().map_err(|missing| Failure::new(missing.to_string()))?;
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.iter().copied());
    let running = Running::start(&mut command).map_err(Failure::start)?;
    Verdict::new(&command, running.end(TOOL_LIMIT))
}

/// Boots a raw disk on a lane of [`LANES`] to its end, within `limit`. The status that is judged is QEMU's, [`qemu_status`].
///
/// # Errors
/// If QEMU can't be started, or does not end by itself.
pub fn boot(lane: Lane, disk: &Path, memory: &str, limit: Duration) -> Result<Verdict, Failure> {
    machine(lane, memory).disk(disk).end(limit)
}

/// Boots an image as a drive with these options of QEMU's `-drive`, as [`boot`] does.
///
/// # Errors
/// As [`boot`].
pub fn boot_drive(
    lane: Lane,
    image: &Path,
    options: &str,
    memory: &str,
    limit: Duration,
) -> Result<Verdict, Failure> {
    machine(lane, memory).drive(image, options).end(limit)
}

/// As [`boot`], with an option ROM that the BIOS runs before.
///
/// # Errors
/// As [`boot`].
pub fn boot_with_rom(
    lane: Lane,
    disk: &Path,
    rom: &Path,
    memory: &str,
    limit: Duration,
) -> Result<Verdict, Failure> {
    machine(lane, memory).disk(disk).option("-option-rom", rom).end(limit)
}

/// Boots an image by UEFI on q35, as [`boot_drive`] does by the BIOS, with more options for QEMU.
///
/// # Errors
/// As [`boot`].
pub fn boot_by_uefi(
    ovmf: &Ovmf,
    image: &Path,
    drive: &str,
    memory: &str,
    options: &[(&str, &str)],
    limit: Duration,
) -> Result<Verdict, Failure> {
    let mut machine = machine(Lane::QemuQ35, memory)
        .drive(image, drive)
        .drive(&ovmf.code, "if=pflash,format=raw,readonly=on")
        .drive(&ovmf.variables, "if=pflash,format=raw,snapshot=on");
    for (option, value) in options {
        machine = machine.option(option, value);
    }
    machine.end(limit)
}

fn machine(lane: Lane, memory: &str) -> Qemu {
    let machine = if lane == Lane::QemuPc { "pc" } else { "q35" };
    Qemu::new(Accelerator::Tcg, machine, memory)
}

/// What QEMU ends with when its guest gives `status`.
#[must_use]
pub fn qemu_status(status: u8) -> i32 {
    let encoded = i32::from(status) << 1 | 1;
    debug_assert_eq!(u8::try_from(encoded).ok().and_then(from_qemu), Some(status));
    encoded
}
