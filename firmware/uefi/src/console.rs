//! Where the loader says why it gives up: on the firmware's console, and on COM1 if that console does not go there itself.

use core::fmt::{self, Write};
use guest_interface::ports;
use uefi::proto::device_path::{DevicePath, DeviceSubType, DeviceType};
use uefi::runtime::{self, VariableVendor};
use uefi::{cstr16, system};
use x86::io::{inb, outb};

/// What each line starts with, as the BIOS loader's.
const PREFIX: &str = "Freehold loader: ";

/// Longest value of `ConOut` that is looked at; a longer one counts as one without a serial port.
const CONSOLE_OUT_LEN_MAX: usize = 1024;

/// Says a line.
pub(crate) fn say(text: fmt::Arguments<'_>) {
    let has_firmware = has_firmware();
    if has_firmware {
        // What can't be said there, can't be said anywhere better.
        let _ = system::with_stdout(|output| writeln!(output, "{PREFIX}{text}"));
    }
    if !(has_firmware && is_serial()) {
        let _ = write!(Serial::new(), "{PREFIX}{text}\r\n");
    }
}

/// Whether boot services are there, and their console.
pub(crate) fn has_firmware() -> bool {
    uefi::table::system_table_raw().is_some_and(|table| {
        // SAFETY: the firmware gave this table to the application, and it outlives boot services.
        let table = unsafe { table.as_ref() };
        !table.boot_services.is_null() && !table.stdout.is_null()
    })
}

/// Whether the firmware's console goes to a serial port (UEFI specification 3.3, `ConOut`).
fn is_serial() -> bool {
    let mut buffer = [0; CONSOLE_OUT_LEN_MAX];
    let vendor = VariableVendor::GLOBAL_VARIABLE;
    runtime::get_variable(cstr16!("ConOut"), &vendor, &mut buffer).is_ok_and(|(value, _)| has_uart(value))
}

/// Whether one of the devices of a path is a UART (UEFI specification 10.3.4.10).
fn has_uart(path: &[u8]) -> bool {
    const UART: (DeviceType, DeviceSubType) = (DeviceType::MESSAGING, DeviceSubType::MESSAGING_UART);
    <&DevicePath>::try_from(path).is_ok_and(|path| path.node_iter().any(|node| node.full_type() == UART))
}

/// COM1, at 115200 baud, 8N1.
struct Serial;

impl Serial {
    fn new() -> Self {
        // SAFETY: these ports are COM1's on every PC, and firmware that uses it was asked before.
        unsafe {
            outb(ports::SERIAL + 3, 0x80);
            outb(ports::SERIAL, 1);
            outb(ports::SERIAL + 1, 0);
            outb(ports::SERIAL + 3, 3);
        }
        Self
    }
}

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // Can it take a byte? A port that never can is not waited for for ever.
            // SAFETY: as above; reading the line status changes nothing.
            let _ = (0..0x1_0000).any(|_| unsafe { inb(ports::SERIAL + 5) } & 0x20 != 0);
            // SAFETY: as above.
            unsafe { outb(ports::SERIAL, byte) };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PciRoot(0)/Pci(0x1f,0)/Serial(0)/Uart(115200,8,N,1)/VenPcAnsi(), as OVMF has it on q35.
    const UART: &[u8] = &[
        2, 1, 12, 0, 0xd0, 0x41, 3, 0x0a, 0, 0, 0, 0, 1, 1, 6, 0, 0, 0x1f, 2, 1, 12, 0, 0xd0, 0x41, 1, 5, 0,
        0, 0, 0, 3, 14, 19, 0, 0, 0, 0, 0, 0, 0xc2, 1, 0, 0, 0, 0, 0, 8, 1, 1, 3, 10, 20, 0, 0xbe, 0xa6,
        0xe0, 0xdf, 0xec, 0xd8, 0xd3, 0x11, 0x9a, 0x16, 0, 0x90, 0x27, 0x3f, 0xc1, 0x4d,
    ];
    /// PciRoot(0)/Pci(2,0)/AcpiAdr(0x80010100).
    const GRAPHICS: &[u8] =
        &[2, 1, 12, 0, 0xd0, 0x41, 3, 0x0a, 0, 0, 0, 0, 1, 1, 6, 0, 0, 2, 2, 3, 8, 0, 0, 1, 1, 0x80];
    const END_INSTANCE: &[u8] = &[0x7f, 1, 4, 0];
    const END: &[u8] = &[0x7f, 0xff, 4, 0];

    #[test]
    fn a_serial_console_is_found_among_others() {
        assert!(has_uart(&[UART, END].concat()));
        assert!(has_uart(&[GRAPHICS, END_INSTANCE, UART, END].concat()));
        assert!(has_uart(&[UART, END_INSTANCE, GRAPHICS, END].concat()));
        assert!(!has_uart(&[GRAPHICS, END].concat()));
    }

    #[test]
    fn a_path_that_breaks_off_has_none() {
        let path = [UART, END].concat();
        assert!((0..path.len()).all(|len| !has_uart(&path[..len])));
    }
}
