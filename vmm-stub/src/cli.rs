//! The command line of this program.

use crate::error::Error;
use crate::memory::backing::Backing;
use crate::memory::size::MemoryLen;
use crate::qemu::arguments::QemuMachine;
use clap::{Parser, Subcommand, ValueEnum};
use guest_interface::status::{APPLICATION_MAX, KernelStatus, VmmStatus};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Boots a Freehold appliance on KVM, or hands it to QEMU.
#[derive(Debug, Parser)]
#[command(name = "vmm-stub", version, max_term_width = 100, after_long_help = exit_statuses())]
struct Program {
    #[command(subcommand)]
    command: Command,
}

/// All statuses that a run can end with.
fn exit_statuses() -> String {
    let application = format!("  0..{APPLICATION_MAX}  the application's own\n");
    let kernel = KernelStatus::ALL.iter().map(|status| format!("  {:<5}  {status}\n", status.code()));
    let vmm = VmmStatus::ALL.iter().map(|status| format!("  {:<5}  {status}\n", status.code()));
    format!("Exit status:\n{application}{}", kernel.chain(vmm).collect::<String>())
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Boot an appliance and wait for its end.
    Run(RunOptions),
    /// Say which KVM and QEMU there are, whether they can be used, and what to do if not.
    ///
    /// Ends with 0 if KVM can be used, and with the status of a host that can't run the guest if not.
    Doctor,
}

/// How to run an appliance.
///
/// An option given twice counts as given last, so that scripts can have defaults of their own.
#[derive(Clone, Debug, clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct RunOptions {
    /// Appliance: an ELF64 image with a PVH note, or a raw disk image with one on it, as `disk-image` makes it. What the options
    /// below and ARGS tell the guest takes the place of what a disk image says.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: PathBuf,

    /// Start in this ROM, as a processor does after a reset, and let it boot IMAGE: at most 1 MiB of whole pages, mapped so that
    /// it ends at 4 GiB. It finds IMAGE by QEMU's fw_cfg, and if it is a disk image, its checks are the ROM's.
    #[arg(long, value_name = "ROM")]
    pub(crate) firmware: Option<PathBuf>,

    /// RAM, a number of whole pages, with K, M, G or T behind it.
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    pub(crate) memory: MemoryLen,

    /// Host memory behind RAM on KVM; without it transparent huge pages, or small pages where there are none.
    #[arg(long, value_enum)]
    pub(crate) backing: Option<Backing>,

    /// End the guest after this long, with ms, s, m or h behind it; without it, never.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,

    /// Where to run: on KVM, as a QEMU TCG guest, or on KVM if `vmm-stub doctor` finds it usable and else on QEMU.
    #[arg(long, value_enum, default_value_t = HostChoice::Kvm)]
    pub(crate) host: HostChoice,

    /// Machine that QEMU emulates, microvm unless given.
    #[arg(long, value_enum)]
    pub(crate) machine: Option<QemuMachine>,

    /// Log level of the guest's kernel; without it what a disk image says, or info.
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) log: Option<LogLevel>,

    /// Audit the guest's page tables and frames when its application has ended; a failure ends with its own status.
    #[arg(long)]
    pub(crate) audit: bool,

    /// Print the guest's address space when its application has ended.
    #[arg(long)]
    pub(crate) dump_address_space: bool,

    /// Give the application a variable; without a value, the one that this process has. More than once for more of them.
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) environment: Vec<OsString>,

    /// At the end print a line `timing: {...}` to stderr, in microseconds; starting this process is not in it.
    #[arg(long)]
    pub(crate) timing: bool,

    /// Write the last result document that the guest has published to this file, however the run ended; without one, the
    /// file stays as it was and the run fails.
    #[arg(long, value_name = "FILE")]
    pub(crate) result: Option<PathBuf>,

    /// Write what KVM has counted to this file, or to stdout for `-`, however the run ended: one JSON document with what is
    /// mapped by which page size, and the statistics of the machine and its vCPU. For Linux 5.14 or newer, on KVM.
    #[arg(long, value_name = "FILE")]
    pub(crate) stats: Option<PathBuf>,

    /// Have KVM note which pages the guest writes; with --stats, whose document then says how many. KVM maps pages of 4 KiB
    /// only meanwhile, which makes the guest slower.
    #[arg(long, requires = "stats")]
    pub(crate) dirty_log: bool,

    /// Arguments for the application.
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) arguments: Vec<OsString>,
}

/// Where to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HostChoice {
    Kvm,
    Qemu,
    Auto,
}

/// Log levels of the guest's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// The name on the guest's command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// To do something.
    Do(Command),
    /// To print this: help or version.
    Print(String),
}

/// Reads the command line of this process, whose first word is the program's name.
///
/// # Errors
/// [`Error::Usage`], [`Error::MachineWithoutQemu`], [`Error::StatisticsOfQemu`], [`Error::BackingWithoutKvm`],
/// [`Error::BackingMisfit`].
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Request, Error> {
    let command = match Program::try_parse_from(words) {
        Ok(program) => program.command,
        Err(error) if error.exit_code() == 0 => return Ok(Request::Print(error.to_string())),
        Err(error) => return Err(Error::Usage(one_line(&error.to_string()))),
    };
    match &command {
        Command::Run(RunOptions { host: HostChoice::Kvm, machine: Some(_), .. }) => {
            Err(Error::MachineWithoutQemu)
        }
        Command::Run(RunOptions { host: HostChoice::Qemu, stats: Some(_), .. }) => {
            Err(Error::StatisticsOfQemu)
        }
        Command::Run(RunOptions { host: HostChoice::Qemu, backing: Some(_), .. }) => {
            Err(Error::BackingWithoutKvm)
        }
        Command::Run(RunOptions { backing: Some(backing), memory, .. }) if !backing.fits(*memory) => {
            Err(Error::BackingMisfit { len_bytes: memory.bytes() })
        }
        _ => Ok(Request::Do(command)),
    }
}

/// Makes one line of clap's message: what is wrong, its tips, and where to read more.
fn one_line(message: &str) -> String {
    const HELP: &str = "see `vmm-stub --help`";
    let said = message
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let mut line = String::new();
    for part in said.filter(|part| !part.is_empty()) {
        let separator = match () {
            () if line.is_empty() => "",
            () if part.starts_with("tip:") => "; ",
            () => " ",
        };
        line.extend([separator, part]);
    }
    let wrong = line.strip_prefix("error: ").filter(|wrong| !wrong.is_empty());
    // Without any argument clap gives the help text instead of an error.
    format!("{}; {HELP}", wrong.unwrap_or("no command given"))
}

/// Reads `500ms`, `10s`, `2m`, `1h`, or seconds without a unit. Zero is no time to run in.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits_len = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(digits_len);
    let milliseconds = match unit {
        "ms" => 1,
        "s" | "" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    if digits.is_empty() || milliseconds == 0 {
        return Err("not a time; write a number with ms, s, m or h behind it, such as 10s".to_owned());
    }
    let duration = digits.parse().ok().and_then(|count: u64| count.checked_mul(milliseconds));
    match duration.map(Duration::from_millis) {
        None => Err("too long; leave --timeout out to run without a limit".to_owned()),
        Some(Duration::ZERO) => {
            Err("no time to run in; leave --timeout out to run without a limit".to_owned())
        }
        Some(duration) => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn parse_words(words: &[&str]) -> Result<Request, Error> {
        parse(std::iter::once(&"vmm-stub").chain(words).map(OsString::from))
    }

    fn options(words: &[&str]) -> RunOptions {
        match parse_words(words) {
            Ok(Request::Do(Command::Run(options))) => options,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    fn error(words: &[&str]) -> String {
        let error = parse_words(words).unwrap_err();
        assert_eq!(error.status(), VmmStatus::Refused);
        let line = error.to_string();
        assert!(!line.contains('\n') && !line.starts_with("error"), "{line}");
        line
    }

    #[test]
    fn a_run_has_defaults() {
        let options = options(&["run", "hello"]);
        assert_eq!((options.memory.bytes(), options.timeout), (512 << 20, None));
        assert_eq!((options.host, options.log), (HostChoice::Kvm, None));
        assert!(
            options.arguments.is_empty()
                && !options.timing
                && options.result.is_none()
                && options.stats.is_none()
        );
        assert!(!options.audit && !options.dump_address_space);
    }

    #[test]
    fn audit_and_dump_are_asked_for_one_by_one() {
        let asked = |words: &[&str]| {
            let options = options(words);
            (options.audit, options.dump_address_space)
        };
        assert_eq!(asked(&["run", "hello", "--audit"]), (true, false));
        assert_eq!(asked(&["run", "hello", "--dump-address-space"]), (false, true));
        assert_eq!(asked(&["run", "hello", "--audit", "--audit", "--dump-address-space"]), (true, true));
        assert_eq!(asked(&["run", "hello", "--", "--audit"]), (false, false));
    }

    #[test]
    fn a_backing_is_chosen_on_kvm_for_memory_that_it_fits() {
        let backing = |words: &[&str]| options(&[&["run", "hello"], words].concat()).backing;
        assert_eq!(backing(&[]), None);
        assert_eq!(backing(&["--backing", "anonymous"]), Some(Backing::Anonymous));
        assert_eq!(
            backing(&["--backing", "thp", "--host", "auto", "--memory", "65540K"]),
            Some(Backing::Thp)
        );
        assert_eq!(backing(&["--backing", "hugetlb-2m", "--memory", "66M"]), Some(Backing::Hugetlb2m));
        let misfit = error(&["run", "hello", "--backing", "hugetlb-2m", "--memory", "67M"]);
        assert!(misfit.contains("2 MiB") && misfit.ends_with("the next lower is 66M"), "{misfit}");
    }

    #[test]
    fn what_follows_the_dashes_is_the_applications() {
        let options = options(&["run", "hello", "--timeout", "1s", "--", "--timeout", "2s", "--", "x"]);
        assert_eq!(options.timeout, Some(Duration::from_secs(1)));
        assert_eq!(options.arguments, ["--timeout", "2s", "--", "x"]);
    }

    #[test]
    fn variables_are_kept_in_order() {
        let options =
            options(&["run", "hello", "--env", "A=1", "--log", "off", "--env=A", "--", "--env", "B"]);
        assert_eq!(options.environment, ["A=1", "A"]);
    }

    #[test]
    fn usage_errors_are_one_line_that_says_what_to_do() {
        assert_eq!(error(&[]), "no command given; see `vmm-stub --help`");
        assert!(error(&["fly"]).starts_with("unrecognized subcommand 'fly'"));
        assert!(error(&["run"]).contains("<IMAGE>"));
        assert!(error(&["run", "a", "--fast"]).starts_with("unexpected argument '--fast' found"));
        assert!(error(&["run", "a", "b"]).contains("'b'"));
        let host = error(&["run", "a", "--host", "bare"]);
        assert!(host.contains("'bare'") && host.contains("kvm, qemu, auto"), "{host}");
        assert!(error(&["run", "a", "--memory", "0"]).contains("the least is 8 MiB"));
        assert!(error(&["run", "a", "--log", "loud"]).contains("trace"));
        assert!(error(&["run", "a", "--machine", "q35"]).contains("--host qemu"));
        assert!(error(&["run", "a", "--stats", "-", "--host", "qemu"]).contains("--host kvm"));
        assert!(error(&["run", "a", "--dirty-log"]).contains("--stats <FILE>"));
        assert!(error(&["run", "a", "--backing", "file"]).contains("anonymous, thp, hugetlb-2m"));
        assert!(error(&["run", "a", "--backing", "thp", "--host", "qemu"]).contains("--host kvm"));
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for words in [&["--help"][..], &["--version"], &["run", "--help"], &["help"]] {
            assert!(matches!(parse_words(words), Ok(Request::Print(text)) if !text.is_empty()), "{words:?}");
        }
    }

    #[test]
    fn the_long_help_lists_every_status() {
        let Ok(Request::Print(help)) = parse_words(&["--help"]) else { panic!("no help") };
        for status in VmmStatus::ALL {
            assert!(help.contains(&status.to_string()), "{status:?}: {help}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, ms) in
            [("500ms", 500), ("10s", 10_000), ("10", 10_000), ("2m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "",
            "s",
            "-1s",
            "1.5s",
            "1d",
            "1 s",
            "1sec",
            "0",
            "0ms",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn log_levels_are_spelled_as_the_options_are() {
        for level in LogLevel::value_variants() {
            let spelled = level.to_possible_value().unwrap();
            assert_eq!(spelled.get_name(), level.name());
        }
    }
}
