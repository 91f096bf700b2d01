//! Devices: the console with its two outputs, the result channel with its two ways to the host, the ways to end the
//! machine, the timer to measure against, the interrupt controllers of old.

pub mod console;
mod debug_console;
mod doorbell;
pub(crate) mod exit;
pub(crate) mod milestone;
pub(crate) mod pic;
pub(crate) mod pit;
pub(crate) mod power_off;
pub mod result;
mod serial;
