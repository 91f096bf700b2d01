//! Devices: the console with its two outputs, the ways to end the machine, the timer to measure against.

pub mod console;
mod doorbell;
pub(crate) mod exit;
pub(crate) mod pit;
mod serial;
