//! The Freehold VMM: boots one appliance on KVM, or hands the same image to QEMU.
//!
//! | part | holds |
//! |---|---|
//! | [`cli`], [`error`], [`report`], [`timing`], [`result`], [`document_file`] | what the user says, is told and is left |
//! | [`standard_output`], [`files_in_use`] | where it can't be left |
//! | [`regular_file`] | how files that the user names are opened |
//! | [`run`] | `vmm-stub run`, from options to exit status |
//! | [`host`] | which hosts there are and what each demands |
//! | [`memory`], [`boot`] | guest RAM, and what a guest finds in it |
//! | [`vcpu`], [`devices`] | what runs the guest, and what it talks to |
//! | [`stoppable_thread`], [`wait`] | what can be ended at any moment, and what ends it |
//! | [`machine`] | a machine on KVM, made of these |
//! | [`statistics`], [`kvm_statistics`] | what is counted meanwhile, here and by KVM |
//! | [`qemu`] | a machine that QEMU runs |
//!
//! Image and guest are hostile. What the guest does reaches the VMM on KVM in two ways only: as VM exits, which
//! [`vcpu::run`] gives to [`devices`], and as guest memory, which is read there and in [`timing`]. Under QEMU it is the
//! debug console, which [`qemu::process`] reads.

// Most of what these pages link to is private; they are for who reads the source.
#![allow(rustdoc::private_intra_doc_links)]

pub mod boot;
mod cli;
mod devices;
mod document_file;
mod error;
mod files_in_use;
mod host;
mod kvm_statistics;
mod machine;
pub mod memory;
mod qemu;
mod regular_file;
mod report;
mod result;
mod run;
mod standard_output;
mod statistics;
mod stoppable_thread;
mod timing;
mod vcpu;
mod wait;

use crate::cli::{Command, Request};
use crate::host::doctor;
use guest_interface::status::{ApplicationStatus, ExitStatus};
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

/// The whole program: reads the command line, does what it says, and returns the status to end with. `started` is when
/// the process began.
#[must_use]
pub fn main(started: Instant) -> ExitCode {
    const SUCCESS: ExitStatus = ExitStatus::Application(ApplicationStatus::SUCCESS);
    let result = cli::parse(std::env::args_os()).and_then(|request| match request {
        Request::Do(Command::Run(options)) => run::run(&options, started),
        Request::Do(Command::Doctor) => {
            let findings = doctor::examine();
            print(&findings.to_string());
            Ok(findings.status())
        }
        Request::Print(text) => {
            print(&text);
            Ok(SUCCESS)
        }
    });
    let status = result.unwrap_or_else(|error| {
        report::say(&error);
        ExitStatus::Vmm(error.status())
    });
    ExitCode::from(status.code())
}

/// Prints to a standard output that may have been closed.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
