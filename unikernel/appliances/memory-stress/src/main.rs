//! Memory stress as an appliance, and, built for the host, as a process there: the same program on both.
//!
//! Ends with 0 when every word held what was written to it, with the kernel's status of a verification failure when one did
//! not, with that of an audit failure when memory was lost or page tables are not as they must be, with 1 when time was up
//! before every method had come to its end, and with 2 for a command line that can't be followed.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

#[cfg(not(target_os = "none"))]
mod advised;
#[cfg(not(target_os = "none"))]
mod anonymous;
#[cfg(target_os = "none")]
mod guest;
#[cfg(target_os = "none")]
mod heap_pages;
#[cfg(not(target_os = "none"))]
mod process;

#[cfg(target_os = "none")]
unikernel::appliance!(guest::run);

#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    process::run()
}
