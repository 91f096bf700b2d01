//! `vmm-stub run`: picks the host, runs the machine, and tells how it ended.

use crate::boot::command_line::{self, KernelParameters};
use crate::boot::environment;
use crate::boot::image::Image;
use crate::boot::start::{Payload, Start};
use crate::cli::{HostChoice, LogLevel, RunOptions};
use crate::document_file::{DocumentFile, DocumentKind};
use crate::error::Error;
use crate::files_in_use::FilesInUse;
use crate::host::kvm::KvmHost;
use crate::host::paging::Paging;
use crate::kvm_statistics::document::Document;
use crate::kvm_statistics::output::{Output, Stdout};
use crate::machine::{Finished, Machine, Wanted};
use crate::memory::backing::Backing;
use crate::memory::firmware::Firmware;
use crate::memory::quantity::Bytes;
use crate::memory::{backing, resident};
use crate::qemu;
use crate::qemu::arguments::{Content, Guest};
use crate::report::{Ending, say};
use crate::result::Published;
use crate::timing::{Inside, Moments, Stages, Timing};
use crate::wait::Signals;
use guest_interface::host_information;
use guest_interface::layout::HOST_INFORMATION;
use guest_interface::result::RESULT_LEN_MAX;
use guest_interface::status::{ApplicationStatus, ExitStatus, VmmStatus};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};
use vm_memory::{Bytes as _, GuestAddress};

/// The host that was picked.
enum Host {
    Kvm(KvmHost),
    Qemu,
}

/// How long a reader that does not read is waited for when the machine has been stopped.
const READER_GRACE: Duration = Duration::from_millis(500);

/// What a machine that has run leaves.
struct Outcome {
    /// When the guest was.
    started: Instant,
    /// Known unless its host failed.
    ending: Result<Ending, Error>,
    published: Published,
    /// If it was asked for.
    statistics: Option<Result<Document, Error>>,
    /// Whether the last that its guest printed is no whole line.
    is_in_line: bool,
}

/// Runs an appliance to its end; the status is the process's.
///
/// # Errors
/// For everything that keeps the machine from running, and for a document that was asked for and is lost.
pub(crate) fn run(options: &RunOptions, started: Instant) -> Result<ExitStatus, Error> {
    let signals = Signals::take_over()?;
    let kernel = KernelParameters {
        log_level: options.log.map(LogLevel::name),
        terminal: std::io::stdout().is_terminal(),
        audit: options.audit,
        dump_address_space: options.dump_address_space,
    };
    let environment = environment::variables(&options.environment, |name| std::env::var_os(name))?;
    let firmware = options.firmware.as_deref();
    let change = |line: &str| command_line::build(line, kernel, &environment, &options.arguments);
    let start = Start::read(&options.image, firmware, options.memory, change)?;
    backing::check(options.backing, options.memory)?;
    let in_use = FilesInUse::look(&options.image, firmware);
    let prepare_result = |path| DocumentFile::prepare(DocumentKind::Result, path, &in_use);
    let result_file = options.result.as_deref().map(prepare_result).transpose()?;
    let prepare_statistics = |path| Output::prepare(path, &in_use);
    let statistics_output = options.stats.as_deref().map(prepare_statistics).transpose()?;
    if let (Some(result), Some(Output::File(statistics))) = (&result_file, &statistics_output)
        && result.is_same_as(statistics)
    {
        return Err(Error::SameFile(result.given().to_owned()));
    }
    let outcome = match pick(options)? {
        Host::Kvm(host) => run_on_kvm(host, &start, options, &signals, started)?,
        Host::Qemu => run_on_qemu(&start, options, &signals, started)?,
    };
    let symbols = start.image().and_then(Image::symbols);
    if let Some(line) = outcome.ending.as_ref().ok().and_then(|ending| ending.describe(symbols)) {
        say(line);
    }
    let result = result_file.map_or(Ok(()), |file| write_result(&file, &outcome.published));
    let stdout = Stdout {
        is_in_line: outcome.is_in_line,
        signals: &signals,
        deadline: reader_deadline(outcome.ending.as_ref().ok(), outcome.started, options.timeout),
    };
    let statistics = statistics_output
        .zip(outcome.statistics)
        .map_or(Ok(()), |(output, document)| output.write(&document?, &stdout));
    let status = outcome.ending.map(|ending| ending.status);
    [result, statistics].into_iter().fold(status, status_with_document)
}

/// Until when a reader of what comes behind the guest's output is waited for: as long as the guest could have run, and
/// not much longer.
fn reader_deadline(ending: Option<&Ending>, started: Instant, limit: Option<Duration>) -> Option<Instant> {
    let soon = Instant::now() + READER_GRACE;
    match ending {
        Some(Ending { status: ExitStatus::Vmm(VmmStatus::Interrupted), .. }) => Some(soon),
        _ => limit.and_then(|limit| started.checked_add(limit)).map(|deadline| deadline.max(soon)),
    }
}

fn write_result(file: &DocumentFile, published: &Published) -> Result<(), Error> {
    if published.dropped > 0 {
        say(format_args!(
            "{} results of the guest were not in RAM or longer than {}",
            published.dropped,
            Bytes(RESULT_LEN_MAX as u64)
        ));
    }
    published.write(file)
}

/// The status of a run of which a document was asked for. That it is missing is an error where all else went well; a run
/// that failed keeps its own status, which says more.
fn status_with_document(
    ending: Result<ExitStatus, Error>,
    written: Result<(), Error>,
) -> Result<ExitStatus, Error> {
    const SUCCESS: ExitStatus = ExitStatus::Application(ApplicationStatus::SUCCESS);
    match (ending, written) {
        (ending, Ok(())) => ending,
        (Ok(SUCCESS), Err(lost)) => Err(lost),
        (ending, Err(lost)) => {
            say(lost);
            ending
        }
    }
}

fn pick(options: &RunOptions) -> Result<Host, Error> {
    match options.host {
        HostChoice::Kvm => KvmHost::open().map(Host::Kvm).map_err(|unusable| Error::Kvm { unusable }),
        HostChoice::Qemu => Ok(Host::Qemu),
        HostChoice::Auto => match KvmHost::open() {
            Ok(host) => {
                let (flavour, paging) = (host.flavour.describe(), Paging::detect(host.flavour));
                say(format_args!("host KVM, which can be used here: {flavour}; paging: {paging}"));
                Ok(Host::Kvm(host))
            }
            Err(unusable) if options.stats.is_some() => Err(Error::StatisticsNeedKvm { unusable }),
            Err(unusable) if options.backing.is_some() => Err(Error::BackingNeedsKvm { unusable }),
            Err(reason) => {
                say(format_args!("host QEMU, because KVM can't be used: {reason}"));
                Ok(Host::Qemu)
            }
        },
    }
}

fn run_on_kvm(
    host: KvmHost,
    start: &Start,
    options: &RunOptions,
    signals: &Signals,
    process_started: Instant,
) -> Result<Outcome, Error> {
    let flavour = host.flavour;
    let wanted = Wanted {
        result: options.result.is_some(),
        statistics: options.stats.is_some(),
        dirty_log: options.dirty_log,
    };
    let machine = Machine::build(host, start, options.memory, options.backing, wanted, signals)?;
    let finished = machine.run(signals, options.timeout)?;
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
        let backing = options.backing.map(Backing::name);
        print_timing(&Timing { host: flavour.name(), backing, moments, teardown, inside });
    }
    let document =
        |statistics| Document { host: flavour.name(), paging: Paging::detect(flavour), statistics };
    Ok(Outcome {
        started: finished.started,
        ending: finished.ending,
        published: finished.published,
        statistics: finished.statistics.map(|read| read.map(document)),
        is_in_line: finished.is_in_line,
    })
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

fn run_on_qemu(
    start: &Start,
    options: &RunOptions,
    signals: &Signals,
    process_started: Instant,
) -> Result<Outcome, Error> {
    let content = match start {
        Start::Firmware { payload: Payload::Disk { disk, command_line }, .. } => {
            Content::Disk { file: &disk.file, command_line: command_line.as_deref() }
        }
        Start::Appliance(it) | Start::Firmware { payload: Payload::Appliance(it), .. } => {
            Content::Kernel { bytes: it.image.bytes(), command_line: &it.command_line }
        }
    };
    let guest = Guest {
        machine: options.machine.unwrap_or_default(),
        memory: options.memory,
        firmware: start.firmware().map(Firmware::bytes),
        content,
    };
    let finished = qemu::process::run(&guest, signals, options.timeout)?;
    if options.timing {
        let moments =
            Moments { process_started, guest_started: finished.started, guest_ended: finished.ended };
        let teardown = finished.ended.elapsed();
        print_timing(&Timing { host: "qemu", backing: None, moments, teardown, inside: None });
    }
    Ok(Outcome {
        started: finished.started,
        ending: finished.ending,
        published: finished.published,
        statistics: None,
        is_in_line: false,
    })
}

/// Without the program's name in front, to be found and read by programs.
fn print_timing(timing: &Timing) {
    let _ = writeln!(std::io::stderr(), "timing: {timing}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::status::KernelStatus;

    fn code(ending: Result<ExitStatus, Error>, written: Result<(), Error>) -> u8 {
        status_with_document(ending, written).unwrap_or_else(|error| ExitStatus::Vmm(error.status())).code()
    }

    #[test]
    fn a_reader_has_as_long_as_the_guest_and_a_moment() {
        let ending = |status| Ending { status, detail: None, location: None };
        let ended = ending(ExitStatus::from_guest(0));
        let interrupted = ending(ExitStatus::Vmm(VmmStatus::Interrupted));
        let started = Instant::now();
        let left = |ending, limit: Option<u64>| {
            let deadline = reader_deadline(ending, started, limit.map(Duration::from_secs))?;
            Some(deadline.duration_since(started).as_secs())
        };
        assert_eq!([left(Some(&ended), None), left(None, None)], [None; 2]);
        assert_eq!([left(Some(&ended), Some(100)), left(None, Some(100))], [Some(100); 2]);
        assert!(left(Some(&ended), Some(0)).is_some_and(|left| left < 100), "its time is up");
        for limit in [None, Some(100)] {
            assert!(left(Some(&interrupted), limit).is_some_and(|left| left < 100), "{limit:?}");
        }
    }

    #[test]
    fn a_result_that_is_missing_is_no_success() {
        let none = || Err(Error::NoResult { path: "r".into() });
        let lost = || {
            Err(Error::DocumentLost {
                document: DocumentKind::Result,
                path: "r".into(),
                source: std::io::ErrorKind::StorageFull.into(),
            })
        };
        let vmm_error = VmmStatus::VmmError.code();
        let ended = |status: u8| Ok(ExitStatus::from_guest(status.into()));
        assert_eq!(
            [code(ended(0), Ok(())), code(ended(0), none()), code(ended(0), lost())],
            [0, vmm_error, vmm_error]
        );
        let panic = KernelStatus::Panic.code();
        assert_eq!(
            [code(ended(panic), Ok(())), code(ended(panic), none()), code(ended(panic), lost())],
            [panic, panic, panic]
        );
        let failed = || Err(Error::QemuFailed(1));
        let unable = VmmStatus::HostUnable.code();
        assert_eq!([code(failed(), Ok(())), code(failed(), none()), code(failed(), lost())], [unable; 3]);
    }
}
