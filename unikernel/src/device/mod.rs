//! Devices.
//!
//! | module | what it is about |
//! |---|---|
//! | [`console`], `serial`, `doorbell` | lines of text, and the two ways that they take |
//! | [`result`], `debug_console` | documents for a file of the host, and the way that they take under QEMU |
//! | `milestone` | moments of a guest's life, told to the host |
//! | `fw_cfg` | files that QEMU hands over |
//! | `exit`, `power_off` | ending the machine, with a status, or by ACPI |
//! | `pit`, `pic` | devices of old: a timer to measure against, interrupt controllers to be masked |

pub mod console;
mod debug_console;
mod doorbell;
pub(crate) mod exit;
pub(crate) mod fw_cfg;
pub(crate) mod milestone;
pub(crate) mod pic;
pub(crate) mod pit;
pub(crate) mod power_off;
pub mod result;
mod serial;
