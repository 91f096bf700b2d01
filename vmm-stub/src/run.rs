//! `vmm-stub run`: picks the host, runs the machine, and tells how it ended.

use crate::boot::image::Image;
use crate::boot::{command_line, load};
use crate::cli::{HostChoice, RunOptions};
use crate::error::Error;
use crate::host::kvm::KvmHost;
use crate::machine::{Finished, Machine};
use crate::memory::{available, resident};
use crate::qemu;
use crate::report::{Ending, say};
use crate::timing::{Inside, Moments, Stages, Timing};
use crate::wait::Signals;
use guest_interface::host_information;
use guest_interface::layout::HOST_INFORMATION;
use guest_interface::status::ExitStatus;
use std::io::Write;
use std::time::Instant;
use vm_memory::{Bytes, GuestAddress};

/// The host that was picked.
enum Host {
    Kvm(KvmHost),
    Qemu,
}

/// Runs an appliance to its end; the status is the process's.
///
/// # Errors
/// For everything that keeps the machine from running.
pub(crate) fn run(options: &RunOptions, started: Instant) -> Result<ExitStatus, Error> {
    let command_line = command_line::build(options.log.name(), &options.arguments)?;
    let image = load::read_image(&options.image, options.memory)?;
    available::check(options.memory)?;
    let ending = match pick(options.host)? {
        Host::Kvm(host) => run_on_kvm(host, &image, &command_line, options, started)?,
        Host::Qemu => run_on_qemu(&command_line, options, started)?,
    };
    if let Some(line) = ending.describe(image.symbols()) {
        say(line);
    }
    Ok(ending.status)
}

fn pick(choice: HostChoice) -> Result<Host, Error> {
    match choice {
        HostChoice::Kvm => KvmHost::open().map(Host::Kvm).map_err(|unusable| Error::Kvm { unusable }),
        HostChoice::Qemu => Ok(Host::Qemu),
        HostChoice::Auto => match KvmHost::open() {
            Ok(host) => {
                say(format_args!("host KVM, which can be used here: {}", host.flavour.describe()));
                Ok(Host::Kvm(host))
            }
            Err(reason) => {
                say(format_args!("host QEMU, because KVM can't be used: {reason}"));
                Ok(Host::Qemu)
            }
        },
    }
}

fn run_on_kvm(
    host: KvmHost,
    image: &Image,
    command_line: &str,
    options: &RunOptions,
    process_started: Instant,
) -> Result<Ending, Error> {
    let signals = Signals::take_over()?;
    let flavour = host.flavour;
    let machine = Machine::build(host, image, options.memory, command_line)?;
    let finished = machine.run(&signals, options.timeout)?;
    if finished.lost_bytes > 0 {
        say(format_args!("{} bytes of console output were lost: stdout takes no more", finished.lost_bytes));
    }
    if finished.dropped_records > 0 {
        say(format_args!("{} console records of the guest named no line in RAM", finished.dropped_records));
    }
    if options.timing {
        let moments =
            Moments { process_started, guest_started: finished.started, guest_ended: finished.ended };
        let teardown = finished.ended.elapsed();
        let inside = Some(look_inside(&finished));
        print_timing(&Timing { host: flavour.name(), moments, teardown, inside });
    }
    Ok(finished.ending)
}

fn look_inside(finished: &Finished) -> Inside {
    let mut record = [0; host_information::LEN];
    let stages = finished
        .tsc_hz
        .filter(|_| finished.memory.read_slice(&mut record, GuestAddress(HOST_INFORMATION)).is_ok())
        .map(|tsc_hz| Stages::read(&record, tsc_hz));
    Inside {
        stages: stages.unwrap_or_default(),
        counts: finished.counts,
        dropped_records: finished.dropped_records,
        resident: resident::measure(&finished.memory),
    }
}

fn run_on_qemu(command_line: &str, options: &RunOptions, process_started: Instant) -> Result<Ending, Error> {
    let signals = Signals::take_over()?;
    let machine = options.machine.unwrap_or_default();
    let arguments =
        qemu::arguments::Guest { machine, memory: options.memory, image: &options.image, command_line };
    let finished = qemu::process::run(&arguments, &signals, options.timeout)?;
    if options.timing {
        let moments =
            Moments { process_started, guest_started: finished.started, guest_ended: finished.ended };
        let teardown = finished.ended.elapsed();
        print_timing(&Timing { host: "qemu", moments, teardown, inside: None });
    }
    Ok(finished.ending)
}

/// Without the program's name in front, to be found and read by programs.
fn print_timing(timing: &Timing) {
    let _ = writeln!(std::io::stderr(), "timing: {timing}");
}
