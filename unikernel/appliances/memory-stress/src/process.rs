//! A process of the host as a platform, to compare the guest with.

use crate::advised::Advised;
use crate::anonymous::Anonymous;
use core::fmt;
use core::time::Duration;
use memory_stress::kernel::{Kernels, Vectors};
use memory_stress::platform::Platform;
use memory_stress::program::{self, Verdict};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;
use unikernel::ApplicationStatus;

/// Memory that is tested without `--size`.
const DEFAULT_BYTES: u64 = 1 << 30;

struct Process {
    start: Instant,
}

/// Runs the program with the process's arguments.
pub(crate) fn run() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    ExitCode::from(match program::run(&arguments, &Process { start: Instant::now() }) {
        Verdict::Passed => ApplicationStatus::SUCCESS.code(),
        Verdict::Refused => ApplicationStatus::USAGE.code(),
        Verdict::WrongWords | Verdict::Incomplete | Verdict::AuditFailed => ApplicationStatus::FAILURE.code(),
    })
}

impl Platform for Process {
    type Mapper = Anonymous;
    type DemandMemory = Advised;

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn free_bytes(&self) -> u64 {
        // Whatever was taken, the same again: the size is up to --size.
        DEFAULT_BYTES
    }

    fn trim(&self) {}

    fn kernels(&self) -> Kernels {
        let vectors = if std::is_x86_feature_detected!("avx512f") {
            Vectors::Avx512
        } else if std::is_x86_feature_detected!("avx2") {
            Vectors::Avx2
        } else {
            Vectors::None
        };
        // SAFETY: just detected, which includes that the system has enabled them.
        unsafe { Kernels::new(vectors) }
    }

    fn physical_address(&self, _: u64) -> Option<u64> {
        None
    }

    fn mapper(&self) -> Option<Anonymous> {
        Some(Anonymous)
    }

    fn demand_memory(&self) -> Advised {
        Advised
    }

    fn is_terminal(&self) -> bool {
        std::io::stdout().is_terminal()
    }

    fn print(&self, text: fmt::Arguments<'_>) {
        // Nobody is left to be told that nobody listens.
        let _ = std::io::stdout().lock().write_fmt(text);
        if self.is_terminal() {
            let _ = std::io::stdout().flush();
        }
    }

    fn publish(&self, _: &str) {}

    fn has_page_tables(&self) -> bool {
        false
    }

    fn audit(&self) -> bool {
        true
    }

    fn dump_address_space(&self) {}
}
