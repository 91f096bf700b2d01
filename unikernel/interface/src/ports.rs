//! I/O ports of the guest interface.

/// First register of the 16550 console UART (COM1), on every host.
pub const SERIAL: u16 = 0x3f8;

/// Number of consecutive ports the UART decodes.
pub const SERIAL_LEN: u16 = 8;

/// Exit port: a 32-bit write of an exit status (see [`crate::status`]) ends the machine. The address is that of QEMU's
/// `isa-debug-exit` device as QEMU is started by `vmm-stub run --host qemu`.
pub const EXIT: u16 = 0xf4;

/// Console doorbell of `vmm-stub`: a 32-bit write of the guest-physical address of a
/// [record](crate::record) of what to print. Used only when the [host information](crate::host_information)
/// names it; the guest takes the port from there.
pub const DOORBELL: u16 = 0xfee;

/// Result doorbell of `vmm-stub`: a 32-bit write of the guest-physical address of a [record](crate::record) of a
/// [result](crate::result). Used only when the [host information](crate::host_information) names it; the guest takes the
/// port from there.
pub const RESULT: u16 = 0xfea;

/// QEMU's `isa-debugcon`: reads as [`DEBUGCON_PRESENT`] where the device exists. What is written there is
/// a [stream of messages](crate::debug_stream). The guest tells its exit status there just before it writes to [`EXIT`],
/// because QEMU ends with 1 both for a guest's status 0 and for its own failures.
pub const DEBUGCON: u16 = 0xe9;

/// What a read of [`DEBUGCON`] returns when QEMU's device is there.
pub const DEBUGCON_PRESENT: u8 = 0xe9;

/// Sleep control register of hardware-reduced ACPI (ACPI specification 4.8.3.7), as `vmm-stub` has it and its FADT says: a
/// byte with sleep enable and sleep type 5 powers the machine off. It is the sleep status register, too. The address is
/// that of Cloud Hypervisor's.
pub const SLEEP_CONTROL: u16 = 0x600;
