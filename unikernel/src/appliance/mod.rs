//! The application of an image: what it is called with, and how it ends.

use crate::cpu::interrupts;
use crate::device::{exit, milestone};
use crate::memory::audit::{AuditReport, Dump};
use crate::memory::live::{self, regions};
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use guest_interface::command_line::Words;
use guest_interface::host_information::Milestone;
use guest_interface::status::{ApplicationStatus, KernelStatus};

mod termination;

pub use termination::Termination;

/// What an application is called with: the words of the command line behind its lone `--`.
pub type Arguments = [String];

/// Makes a function the application of this image: `fn(&[String]) -> T`, where `T` is [`ApplicationStatus`], `()`, a
/// `Result` of one of them whose error can be displayed, or anything else that implements [`Termination`].
///
/// The crate is a binary with `#![cfg_attr(target_os = "none", no_std, no_main)]`. Built for any other target than the
/// guest's, its `main` says that it is a guest image, and ends with 2.
///
/// ```no_run
/// # extern crate alloc;
/// use alloc::string::String;
/// unikernel::appliance!(greet);
/// fn greet(arguments: &[String]) -> Result<(), &'static str> {
///     let name = arguments.first().ok_or("whom shall I greet?")?;
///     unikernel::println!("hello, {name}");
///     Ok(())
/// }
/// ```
#[macro_export]
macro_rules! appliance {
    ($application:path) => {
        #[cfg(target_os = "none")]
        #[unsafe(no_mangle)]
        fn freehold_application(arguments: &$crate::appliance::Arguments) -> $crate::ApplicationStatus {
            $crate::appliance::Termination::status($application(arguments))
        }

        #[cfg(not(target_os = "none"))]
        fn main() -> ::std::process::ExitCode {
            // Keeps the application checked on the host, too.
            let _ = |arguments: &$crate::appliance::Arguments| {
                $crate::appliance::Termination::status($application(arguments))
            };
            ::std::eprintln!(
                "{} is a guest image: build it for x86_64-unknown-none and boot it with `just run`",
                ::core::env!("CARGO_PKG_NAME"),
            );
            ::std::process::ExitCode::from($crate::ApplicationStatus::USAGE.code())
        }
    };
}

/// Runs the application with its arguments, and ends the machine with its status.
pub(crate) fn run(arguments: &str) -> ! {
    // SAFETY: `appliance!` is the only one to define the symbol, as a safe function of this very type.
    unsafe extern "Rust" {
        /// Defined by `appliance!`.
        safe fn freehold_application(arguments: &Arguments) -> ApplicationStatus;
    }
    let arguments: Vec<String> = Words::new(arguments).collect();
    milestone::stamp(Milestone::ApplicationStart);
    let status = freehold_application(&arguments);
    drop(arguments);
    // No timer's function runs any more.
    interrupts::without(|| {
        look_at_memory();
        exit::application(status)
    })
}

/// What is done when the application has ended.
static AUDIT: AtomicBool = AtomicBool::new(false);
static DUMP: AtomicBool = AtomicBool::new(false);

/// Says what shall be done when the application has ended.
pub(crate) fn at_end(audit: bool, dump: bool) {
    AUDIT.store(audit, Ordering::Relaxed);
    DUMP.store(dump, Ordering::Relaxed);
}

/// Prints or audits the address space, as the command line asked for.
fn look_at_memory() {
    if DUMP.load(Ordering::Relaxed) {
        dump_address_space();
    }
    if AUDIT.load(Ordering::Relaxed) {
        audit();
    }
}

/// Prints all that is mapped, a line for each stretch.
pub fn dump_address_space() {
    if let Some(machine) = live::machine() {
        interrupts::without(|| crate::print!("{}", Dump::with_names(machine, regions::name_of)));
    }
}

/// Audits the live page tables from CR3 and all frames, while no timer's function runs. `None` before there are any.
#[must_use]
pub fn audit_report() -> Option<AuditReport> {
    interrupts::without(live::audit_now)
}

/// Audits the live page tables from CR3 and all frames, and prints what there is, unless it is clean and the log level says
/// that nobody wants to know. What is wrong ends the machine, with [`KernelStatus::AuditFailure`]. No operation on memory may
/// be under way.
pub fn audit() {
    let Some(report) = audit_report() else { return };
    if !report.is_clean() || log::log_enabled!(log::Level::Info) {
        crate::println!("{report}");
    }
    if !report.is_clean() {
        fail_audit();
    }
}

/// Ends the machine with [`KernelStatus::AuditFailure`]: for an application whose audit was not clean, and which has said
/// so.
pub fn fail_audit() -> ! {
    crate::device::console::flush();
    milestone::stamp(Milestone::ApplicationEnd);
    exit::kernel(KernelStatus::AuditFailure)
}

/// Ends the machine with [`KernelStatus::VerificationFailure`]: for an application that has found wrong words in memory
/// and has said where.
pub fn fail_verification() -> ! {
    crate::device::console::flush();
    milestone::stamp(Milestone::ApplicationEnd);
    exit::kernel(KernelStatus::VerificationFailure)
}
