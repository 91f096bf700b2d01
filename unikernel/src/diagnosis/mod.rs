//! Saying what happens, and what went wrong: log lines, names for code addresses, backtraces, faults and panics.

pub mod backtrace;
pub(crate) mod fault;
pub(crate) mod logger;
#[cfg(target_os = "none")]
mod panic;
pub(crate) mod region;
pub mod symbols;
