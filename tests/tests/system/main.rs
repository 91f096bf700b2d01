//! Whole-system tests: boots guests on every host this machine has, and judges what guest and VMM did.
//!
//! Each scenario on each host is a test of its own, `LANE/SCENARIO`. Tests of a lane that the machine lacks are shown as
//! ignored, after a line that says why; the test `lanes/LANE` fails if the environment variable
//! `FREEHOLD_REQUIRE_LANES` names that lane, and lane qemu-q35 includes UEFI firmware. The binaries under test come from `just build`.

mod acpi;
mod backing;
mod bios;
mod command_line_file;
mod context;
mod corruption;
mod disk;
mod disk_direct;
mod environment;
mod firmware;
mod firmware_rom;
mod forbidden;
mod formats;
mod hello;
mod host;
mod kernel;
mod memory;
mod memory_map;
mod misbehave;
mod new;
mod paging;
mod qemu_kvm;
mod refusal;
mod rom;
mod stopping;
mod stress;
mod uefi;

use context::Context;
use libtest_mimic::{Arguments, run};
use std::process::ExitCode;

/// Tests at a time without `--test-threads`: a guest of QEMU keeps a processor busy, and guests of several GiB must not
/// meet too many others.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let context = match Context::new() {
        // For as long as the tests run, which is as long as the process.
        Ok(context) => Box::leak(Box::new(context)),
        Err(error) => {
            eprintln!("system tests: {error}");
            return ExitCode::FAILURE;
        }
    };
    eprint!("{}", context.lanes);
    if let Err(missing) = context.ovmf {
        eprintln!("tests of UEFI are ignored: {missing}");
    }
    let groups = [
        context::trials,
        hello::trials,
        environment::trials,
        command_line_file::trials,
        memory::trials,
        memory_map::trials,
        backing::trials,
        acpi::trials,
        stress::trials,
        misbehave::trials,
        paging::trials,
        forbidden::trials,
        kernel::trials,
        qemu_kvm::trials,
        stopping::trials,
        refusal::trials,
        host::trials,
        new::trials,
        corruption::trials,
        disk::trials,
        formats::trials,
        disk_direct::trials,
        firmware::trials,
        firmware_rom::trials,
        bios::trials,
        rom::trials,
        uefi::trials,
    ];
    let trials = groups.iter().flat_map(|group| group(context)).collect();
    run(&arguments, trials).exit_code()
}
