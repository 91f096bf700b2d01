//! Ending the machine, on every host there is.

use super::power_off::{PowerOff, SleepRegister};
use super::{milestone, serial};
use crate::device::{console, debug_console};
use guest_interface::debug_stream::status_message;
use guest_interface::host_information::Milestone;
use guest_interface::ports::{EXIT, SLEEP_CONTROL};
use guest_interface::status::{ApplicationStatus, KernelStatus};
use spin::Once;
use x86::io::{outb, outl};

/// The ways to power off that are tried when ACPI named none, or its own has failed: a kernel that ends before it has read
/// the tables, or can't read them, has to end too.
const FALLBACKS: [PowerOff; 2] = [
    // Cloud Hypervisor.
    PowerOff::SleepControl(SleepRegister { port: SLEEP_CONTROL, sleep_type: 5 }),
    // QEMU's PCs.
    PowerOff::Pm1Control(SleepRegister { port: 0x604, sleep_type: 0 }, None),
];
/// Command register of the keyboard controller, and the command that pulses the reset line. Firecracker ends at it.
const KEYBOARD_COMMAND: u16 = 0x64;
const PULSE_RESET: u8 = 0xfe;

/// The way to power off that ACPI named.
static POWER_OFF: Once<PowerOff> = Once::new();

/// Powers off in this way whenever the machine ends, before any other. Only the first call counts.
#[cfg_attr(target_os = "none", expect(dead_code, reason = "the boot sequence does not read ACPI yet"))]
pub(crate) fn use_power_off(power_off: PowerOff) {
    POWER_OFF.call_once(|| power_off);
}

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
    // SAFETY: all that these ports can do is to end this machine, which is what is wanted. Those that ACPI named do
    // whatever the VMM likes, as it may do at any time; the kernel does nothing any more that this could break.
    unsafe {
        outl(EXIT, status.into());
        for power_off in POWER_OFF.get().into_iter().chain(&FALLBACKS) {
            power_off.enter();
        }
        outb(KEYBOARD_COMMAND, PULSE_RESET);
        loop {
            x86::irq::disable();
            x86::halt();
        }
    }
}
