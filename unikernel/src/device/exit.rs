//! Ending the machine, on every host there is.

use super::{milestone, serial};
use crate::device::{console, debug_console};
use guest_interface::debug_stream::status_message;
use guest_interface::host_information::Milestone;
use guest_interface::ports::EXIT;
use guest_interface::status::{ApplicationStatus, KernelStatus};
use x86::io::{outb, outl, outw};

/// Sleep control register of Cloud Hypervisor's ACPI shutdown device, and the value that powers off: sleep enable with
/// sleep type 5.
const CLOUD_HYPERVISOR_SLEEP: u16 = 0x600;
const CLOUD_HYPERVISOR_POWER_OFF: u16 = 0x34;
/// PM1a control register of QEMU's PCs, and the value that powers off: sleep enable with sleep type 0.
const QEMU_PM1A_CONTROL: u16 = 0x604;
const QEMU_POWER_OFF: u16 = 0x2000;
/// Command register of the keyboard controller, and the command that pulses the reset line. Firecracker ends at it.
const KEYBOARD_COMMAND: u16 = 0x64;
const PULSE_RESET: u8 = 0xfe;

/// Ends the machine with the application's status.
pub(crate) fn application(status: ApplicationStatus) -> ! {
    console::flush();
    milestone::stamp(Milestone::ApplicationEnd);
    end(status.code())
}

/// Ends the machine with a status of the kernel's, from wherever that is found out.
pub(crate) fn kernel(status: KernelStatus) -> ! {
    end(status.code())
}

/// Tells the host the status, then tries one way to power off after the other. A host with an exit port never sees the
/// others; one without ends at its own, and the status is lost.
fn end(status: u8) -> ! {
    serial::drain();
    if debug_console::is_present() {
        debug_console::send(&status_message(status));
    }
    // SAFETY: all that these ports can do is to end this machine, which is what is wanted.
    unsafe {
        outl(EXIT, status.into());
        outw(CLOUD_HYPERVISOR_SLEEP, CLOUD_HYPERVISOR_POWER_OFF);
        outw(QEMU_PM1A_CONTROL, QEMU_POWER_OFF);
        outb(KEYBOARD_COMMAND, PULSE_RESET);
        loop {
            x86::irq::disable();
            x86::halt();
        }
    }
}
