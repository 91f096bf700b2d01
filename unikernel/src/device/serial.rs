//! The 16550 UART that every host has (National Semiconductor PC16550D), for output only.

use guest_interface::ports::SERIAL;
use x86::io::{inb, outb};

const DATA: u16 = SERIAL;
const INTERRUPT_ENABLE: u16 = SERIAL + 1;
const FIFO_CONTROL: u16 = SERIAL + 2;
const LINE_CONTROL: u16 = SERIAL + 3;
const MODEM_CONTROL: u16 = SERIAL + 4;
const LINE_STATUS: u16 = SERIAL + 5;

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
/// Reads of the line status after which a UART that never empties is written to all the same. A FIFO takes 1.4 ms at
/// 115,200 baud, a port read at least 0.1 µs.
const POLLS_MAX: u32 = 100_000;

/// The UART, set up.
#[derive(Debug)]
pub(super) struct Serial(());

impl Serial {
    /// Sets up the UART. Where there is none, writes go nowhere.
    pub(super) fn new() -> Self {
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
            // SAFETY: the registers of COM1, which only the console drives.
            unsafe { outb(port, value) };
        }
        Self(())
    }

    /// Sends bytes, waiting for room.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(FIFO_LEN) {
            for _ in 0..POLLS_MAX {
                // SAFETY: as in `new`.
                if unsafe { inb(LINE_STATUS) } & TRANSMIT_EMPTY != 0 {
                    break;
                }
            }
            for byte in chunk {
                // SAFETY: as in `new`.
                unsafe { outb(DATA, *byte) };
            }
        }
    }
}
