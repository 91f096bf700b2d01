//! `nested-kvm npt|ept`: runs the system tests on Linux's own KVM with hardware virtualization, which few machines have, so
//! an emulator makes the processor.
//!
//! ```text
//! packages of Debian (kernel, busybox) + static vmm-stub, system tests, guests -> initramfs -> emulator -> its console
//! ```
//!
//! What it needs is fetched once into a cache. The emulated Linux runs the same tests that `just test` runs on the host,
//! those of the lane `kvm`. It proves function; no duration says anything of real hardware.

mod command;
mod console;
mod contents;
mod error;
mod initramfs;
mod lane;
mod packages;
mod qemu;
mod report;

use clap::Parser;
use console::Limits;
use contents::Files;
use error::Error;
use lane::Lane;
use packages::Packages;
use report::Report;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, ExitCode};
use std::time::Duration;

/// Mitigations would only cost time; without them the nested guests see an ordinary processor all the same.
const COMMAND_LINE: &str = "console=ttyS0 mitigations=off nokaslr quiet panic=-1";

/// The longest silence is that of the longest test, which has a time limit of its own.
const LIMITS: Limits = Limits { idle: Duration::from_secs(150), whole: Duration::from_secs(20 * 60) };

/// Runs the system tests in a Linux with KVM on an emulated processor.
#[derive(Parser)]
struct Arguments {
    /// Which second translation of addresses to test.
    lane: Lane,
    /// Folder that `just build` builds into; this program keeps a cache there.
    #[arg(long)]
    target_dir: PathBuf,
    /// The VMM, linked statically.
    #[arg(long)]
    vmm_stub: PathBuf,
    /// The system tests, linked statically.
    #[arg(long)]
    system_tests: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let name = arguments.lane.name();
    match run(&arguments) {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(failures) => {
            for failure in failures {
                eprintln!("{name}: {failure}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prepares the lane and runs it, a second time if the emulator hangs. Gives what failed.
fn run(arguments: &Arguments) -> Result<Vec<String>, Error> {
    let (lane, name) = (arguments.lane, arguments.lane.name());
    let folder = arguments.target_dir.join("nested");
    let packages = Packages::new(folder.join("packages"));
    let machine = Machine {
        kernel: contents::kernel(&packages)?,
        initramfs: folder.join(format!("{name}.cpio")),
        console: folder.join(format!("{name}-console.log")),
        log: folder.join(format!("{name}-emulator.log")),
    };
    let files = Files {
        target_dir: &arguments.target_dir,
        vmm_stub: &arguments.vmm_stub,
        system_tests: &arguments.system_tests,
    };
    contents::archive(lane, &files, &packages)?.write(&machine.initramfs)?;

    let report = match attempt(lane, &machine) {
        Err(error) if error.may_pass_when_repeated() => {
            println!("{name}: {error}; once more");
            attempt(lane, &machine)?
        }
        result => result?,
    };
    for line in report.to_string().lines() {
        println!("{name}: {line}");
    }
    Ok(report.failures(lane))
}

/// The emulated machine's files.
struct Machine {
    kernel: PathBuf,
    initramfs: PathBuf,
    console: PathBuf,
    log: PathBuf,
}

fn attempt(lane: Lane, machine: &Machine) -> Result<Report, Error> {
    // What an earlier run has left would be read as this one's.
    fs::write(&machine.console, []).map_err(Error::file(&machine.console, "emptied"))?;
    let emulator = start(lane, machine)?;
    let mut report = Report::default();
    console::follow(emulator, &machine.console, LIMITS, |line| {
        if report.take(line) {
            println!("{line}");
        }
    })?;
    Ok(report)
}

fn start(lane: Lane, machine: &Machine) -> Result<Child, Error> {
    match lane {
        Lane::Npt => {
            qemu::start(&machine.kernel, &machine.initramfs, COMMAND_LINE, &machine.console, &machine.log)
        }
        Lane::Ept => Err(Error::MissingProgram { program: "bochs".to_owned(), advice: "x" }),
    }
}
