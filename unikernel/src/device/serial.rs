//! The 16550 UART that every host has (National Semiconductor PC16550D), for output only.

use core::sync::atomic::{AtomicBool, Ordering};
use guest_interface::ports::SERIAL;
use x86::io::{inb, outb};

const DATA: u16 = SERIAL;
const INTERRUPT_ENABLE: u16 = SERIAL + 1;
const FIFO_CONTROL: u16 = SERIAL + 2;
const LINE_CONTROL: u16 = SERIAL + 3;
const MODEM_CONTROL: u16 = SERIAL + 4;
const LINE_STATUS: u16 = SERIAL + 5;
const SCRATCH: u16 = SERIAL + 7;

/// FIFO control: enable and clear both.
const FIFO_ON: u8 = 0b111;
/// Line control: 8 data bits, no parity, one stop bit.
const EIGHT_N_ONE: u8 = 0b11;
/// Line control: the divisor is at DATA and INTERRUPT_ENABLE.
const DIVISOR_ACCESS: u8 = 1 << 7;
/// 115,200 baud of a 1.8432 MHz clock.
const DIVISOR: u8 = 1;
/// Modem control: data terminal ready, request to send.
const READY: u8 = 0b11;
/// Line status: the transmit FIFO is empty.
const TRANSMIT_EMPTY: u8 = 1 << 5;
/// Bytes the transmit FIFO takes when it is empty.
const FIFO_LEN: usize = 16;
/// Line status: nothing is being sent any more.
const TRANSMITTER_IDLE: u8 = 1 << 6;
/// A value for the scratch register, which is all that tells a UART from none.
const SCRATCH_PATTERN: u8 = 0x5a;

/// Whether the UART has been set up, by whichever console used it first.
static IS_SET_UP: AtomicBool = AtomicBool::new(false);

/// The UART, set up.
#[derive(Debug)]
pub(super) struct Serial {
    is_present: bool,
}

impl Serial {
    /// Sets up the UART, if nobody has before: doing it again would drop what is on its way. Where there is none, writes
    /// go nowhere.
    pub(super) fn new() -> Self {
        // SAFETY: the registers of COM1, which only the console drives. Nothing depends on the scratch register.
        let is_present = unsafe {
            outb(SCRATCH, SCRATCH_PATTERN);
            inb(SCRATCH) == SCRATCH_PATTERN
        };
        if IS_SET_UP.swap(true, Ordering::Relaxed) {
            return Self { is_present };
        }
        let settings = [
            (INTERRUPT_ENABLE, 0),
            (LINE_CONTROL, DIVISOR_ACCESS),
            (DATA, DIVISOR),
            (INTERRUPT_ENABLE, 0),
            (LINE_CONTROL, EIGHT_N_ONE),
            (FIFO_CONTROL, FIFO_ON),
            (MODEM_CONTROL, READY),
        ];
        for (port, value) in settings {
            // SAFETY: as above.
            unsafe { outb(port, value) };
        }
        Self { is_present }
    }

    /// Sends bytes, waiting for room as long as it takes: a reader may be slow, and nothing is lost.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if !self.is_present {
            return;
        }
        for chunk in bytes.chunks(FIFO_LEN) {
            wait_for(TRANSMIT_EMPTY);
            for byte in chunk {
                // SAFETY: as in `new`.
                unsafe { outb(DATA, *byte) };
            }
        }
    }
}

/// Waits until everything has been sent, before the machine ends.
pub(super) fn drain() {
    if IS_SET_UP.load(Ordering::Relaxed) && Serial::new().is_present {
        wait_for(TRANSMITTER_IDLE);
    }
}

/// Waits for a bit of the line status, of a UART that is there.
fn wait_for(bit: u8) {
    // SAFETY: as in `Serial::new`; reading the line status takes nothing that is waited for.
    while unsafe { inb(LINE_STATUS) } & bit == 0 {
        core::hint::spin_loop();
    }
}
