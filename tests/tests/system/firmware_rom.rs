//! Freehold's own ROM under `vmm-stub run --firmware`: appliances and disk images on every host.

use crate::context::{Context, OnLane, Outcome};
use crate::disk::Disk;
use guest_interface::status::KernelStatus;
use image_header::BLOCK_LEN;
use libtest_mimic::Trial;
use std::path::{Path, PathBuf};
use std::process::Command;
use system_tests::boot::Boot;
use system_tests::disk::tool;
use system_tests::lane::Lane;
use system_tests::process::Running;
use system_tests::verdict::{Failure, Verdict};

const STDIN: &str = "/dev/stdin";

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let tests: [OnLane; 5] = [
        ("firmware/the_rom_boots_an_appliance", boots_an_appliance),
        ("firmware/the_rom_keeps_the_status", keeps_the_status),
        ("disk/by_vmm_stub_and_rom/hello", hello_from_a_disk),
        ("disk/by_vmm_stub_and_rom/other_command_line", other_command_line),
        ("disk/by_vmm_stub_and_rom/spoilt", spoilt),
    ];
    let on_lane = |lane| tests.map(|(name, test)| context.trial(lane, name, move || test(context, lane)));
    let mut trials: Vec<Trial> = Lane::ALL.into_iter().flat_map(on_lane).collect();
    trials.push(context.trial(Lane::Kvm, "disk/by_vmm_stub/each_raw_format", || each_raw_format(context)));
    let qemu = Lane::QemuMicrovm;
    trials
        .push(context.trial(qemu, "firmware/appliance_at_stdin", move || appliance_at_stdin(context, qemu)));
    trials.push(context.trial(qemu, "firmware/rom_at_stdin", move || rom_at_stdin(context, qemu)));
    trials
        .push(context.trial(qemu, "disk/by_vmm_stub_and_rom/at_stdin", move || disk_at_stdin(context, qemu)));
    trials
}

fn rom(context: &Context) -> Result<PathBuf, Failure> {
    context.artifacts.rom().map_err(|missing| Failure::new(missing.to_string()))
}

fn by_rom(context: &Context, lane: Lane, image: &Path) -> Result<Boot, Failure> {
    Ok(context.boot(lane, image).options(["--firmware".as_ref(), rom(context)?.as_os_str()]))
}

fn greets(verdict: &Verdict, arguments: &str) -> Outcome {
    verdict.status(0)?.prints(["hello from Freehold, running at ", arguments])?;
    Ok(())
}

fn boots_an_appliance(context: &Context, lane: Lane) -> Outcome {
    let boot = by_rom(context, lane, &context.artifacts.hello)?.arguments(["one", "two words"]);
    greets(&boot.end()?, "argument: \"one\"\nargument: \"two words\"\n")
}

fn keeps_the_status(context: &Context, lane: Lane) -> Outcome {
    let verdict = by_rom(context, lane, &context.artifacts.misbehave)?.arguments(["exit", "42"]).end()?;
    verdict.status(42)?;
    Ok(())
}

fn hello_from_a_disk(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::make(context, &context.artifacts.hello, &["--args=of the image"])?;
    let arguments = "argument: \"of\"\nargument: \"the\"\nargument: \"image\"\n";
    greets(&by_rom(context, lane, &disk.path)?.end()?, arguments)
}

fn other_command_line(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::make(context, &context.artifacts.hello, &["--args=of the image"])?;
    let verdict = by_rom(context, lane, &disk.path)?.arguments(["given"]).end()?;
    greets(&verdict, "argument: \"given\"\n")?;
    if verdict.stdout().contains("argument: \"of\"") {
        return Err(verdict.failure("the given arguments alone were expected"));
    }
    Ok(())
}

fn spoilt(context: &Context, lane: Lane) -> Outcome {
    let failure = KernelStatus::BootFailure.code();
    let disk = Disk::make(context, &context.artifacts.hello, &[])?;
    let kernel = disk.header()?.kernel_block as usize * BLOCK_LEN;
    disk.spoil(|bytes| bytes[kernel + 0x1100] ^= 0x40)?;
    let message = "Freehold ROM: kernel damaged; write the image again";
    by_rom(context, lane, &disk.path)?.end()?.status(failure)?.prints([message])?;
    disk.spoil(|bytes| bytes.truncate(kernel))?;
    by_rom(context, lane, &disk.path)?.end()?.status(failure)?.prints(["Freehold ROM: disk read failed"])?;
    Ok(())
}

/// The formats that hold the disk as it is boot directly and by the ROM, too.
fn each_raw_format(context: &Context) -> Outcome {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    for format in ["raw", "vhd", "iso"] {
        let image = folder.path().join(format);
        let make =
            ["make".as_ref(), context.artifacts.hello.as_os_str(), "--output".as_ref(), image.as_os_str()];
        let options = ["--format", format, "--args=from it"].map(AsRef::as_ref);
        tool(&context.artifacts, make.into_iter().chain(options))?.status(0)?;
        let arguments = "argument: \"from\"\nargument: \"it\"\n";
        greets(&context.boot(Lane::Kvm, &image).end()?, arguments)?;
        greets(&by_rom(context, Lane::Kvm, &image)?.end()?, arguments)?;
    }
    Ok(())
}

/// Runs a guest by a path that only `vmm-stub` itself can open as it is meant: QEMU's standard input is another file.
fn with_stdin(boot: &Boot, stdin: &Path) -> Outcome {
    let run = boot.command();
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$@" < "$0""#]).arg(stdin).arg(run.get_program()).args(run.get_args());
    let running = Running::start(&mut command).map_err(Failure::start)?;
    greets(&Verdict::new(&command, running.end(boot.hard_limit()))?, "")
}

/// QEMU runs the appliance that was read and checked, whatever its path leads to then.
fn appliance_at_stdin(context: &Context, lane: Lane) -> Outcome {
    with_stdin(&context.boot(lane, Path::new(STDIN)), &context.artifacts.hello)
}

fn rom_at_stdin(context: &Context, lane: Lane) -> Outcome {
    let boot = context.boot(lane, &context.artifacts.hello).options(["--firmware", STDIN]);
    with_stdin(&boot, &rom(context)?)
}

/// The file that was opened is the one that the ROM gets.
fn disk_at_stdin(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::make(context, &context.artifacts.hello, &[])?;
    with_stdin(&by_rom(context, lane, Path::new(STDIN))?, &disk.path)
}
