//! The devices of a machine, all on I/O ports: a 16550 ([`serial`]), the console doorbell ([`doorbell`]), the result
//! doorbell ([`result`]), the sleep registers of ACPI ([`sleep`]), the exit port, and, for firmware, QEMU's firmware
//! configuration device ([`fw_cfg`]). Both consoles print through [`console`].
//!
//! The guest is hostile. A port or address that nothing decodes reads as all ones and ignores what is written, as on a
//! PC; no access fails, and none takes longer than printing [`guest_interface::console::LINE_LEN_MAX`] bytes or
//! copying [`guest_interface::result::RESULT_LEN_MAX`], but for a transfer of [`fw_cfg`], which ends when the machine shall stop.

pub(crate) mod bus;
pub(crate) mod console;
pub(crate) mod doorbell;
pub(crate) mod fw_cfg;
pub(crate) mod record;
pub(crate) mod result;
pub(crate) mod serial;
pub(crate) mod sleep;
