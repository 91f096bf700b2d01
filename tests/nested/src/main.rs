//! `nested-kvm npt|ept`: runs the system tests on Linux's own KVM with hardware virtualization, which few machines have, so
//! an emulator makes the processor.
//!
//! ```text
//! packages of Debian (kernel, busybox) + static vmm-stub, system tests, guests -> initramfs -> emulator -> its console
//! ```
//!
//! What it needs is fetched once into a cache. The emulated Linux runs the same tests that `just test` runs on the host,
//! those of the lane `kvm`. It proves function; no duration says anything of real hardware.

mod bochs;
mod command;
mod console;
mod contents;
mod disc;
mod emulator;
mod error;
mod initramfs;
mod lane;
mod machine;
mod packages;
mod qemu;
mod report;
mod terminal;

use clap::Parser;
use console::Limits;
use contents::Files;
use error::Error;
use lane::Lane;
use machine::Machine;
use packages::Packages;
use report::Report;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The longest silence is that of the longest test, which has a time limit of its own.
const LIMITS: Limits = Limits { idle: Duration::from_secs(240), whole: Duration::from_secs(20 * 60) };

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
    let folder = std::path::absolute(arguments.target_dir.join("nested"));
    let folder = folder.map_err(Error::file(&arguments.target_dir, "found"))?;
    let _alone = alone(&folder)?;
    let packages = Packages::new(folder.join("packages"));
    let machine = Machine::new(lane, &folder, contents::kernel(&packages)?);
    let files = Files {
        target_dir: &arguments.target_dir,
        vmm_stub: &arguments.vmm_stub,
        system_tests: &arguments.system_tests,
    };
    contents::archive(lane, &files, &packages)?.write(&machine.initramfs)?;

    let report = match attempt(lane, &machine, &packages) {
        Err(error) if error.may_pass_when_repeated() => {
            println!("{name}: {error}; once more");
            attempt(lane, &machine, &packages)?
        }
        result => result?,
    };
    for line in report.to_string().lines() {
        println!("{name}: {line}");
    }
    Ok(report.failures(lane))
}

/// Waits until no other lane uses the folder, for as long as the result lives.
fn alone(folder: &Path) -> Result<File, Error> {
    fs::create_dir_all(folder).map_err(Error::file(folder, "made"))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(Error::file(&path, "made"))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another lane that uses '{}'", folder.display());
        file.lock().map_err(Error::file(&path, "locked"))?;
    }
    Ok(file)
}

fn attempt(lane: Lane, machine: &Machine, packages: &Packages) -> Result<Report, Error> {
    // What an earlier run has left would be read as this one's.
    fs::write(&machine.console, []).map_err(Error::file(&machine.console, "emptied"))?;
    let emulator = machine.start(lane, packages)?;
    let mut report = Report::default();
    console::follow(emulator, &machine.console, LIMITS, |line| {
        if Report::shows(line) {
            println!("{line}");
        }
        report.take(line)
    })?;
    if report.is_incomplete() {
        println!("{}: what the emulator said last: {}", lane.name(), machine.last_words());
    }
    Ok(report)
}
