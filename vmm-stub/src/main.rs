//! The `vmm-stub` program; all of it is in the library.

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    // The first thing read, so that the measured set-up covers everything this process does itself.
    vmm_stub::main(Instant::now())
}
