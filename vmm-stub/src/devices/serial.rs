//! The 16550 at [`guest_interface::ports::SERIAL`], by `vm-superio`: output only, and no interrupt.

use crate::devices::bus::NOBODY;
use crate::devices::console::Console;
use std::convert::Infallible;
use std::io::{self, Write};
use vm_superio::serial::{NoEvents, Serial as Uart};

/// The UART's interrupt line, which is connected to nothing.
struct Unconnected;

impl vm_superio::Trigger for Unconnected {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Takes the UART's bytes. The UART flushes after each, so flushing means nothing here.
struct Transmitter<W: Write>(Console<W>);

impl<W: Write> Write for Transmitter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bytes.iter().for_each(|byte| self.0.push(*byte));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The UART and the console behind it. Its registers are a byte wide; a wider access reaches nobody.
pub(crate) struct Serial<W: Write>(Uart<Unconnected, NoEvents, Transmitter<W>>);

impl<W: Write> Serial<W> {
    pub(crate) fn new(console: Console<W>) -> Self {
        Self(Uart::new(Unconnected, Transmitter(console)))
    }

    pub(crate) fn console(&mut self) -> &mut Console<W> {
        &mut self.0.writer_mut().0
    }

    /// Writes to the register at `offset` from the UART's first port, below 8.
    pub(crate) fn write(&mut self, offset: u16, data: &[u8]) {
        if let [value] = data {
            // Neither the transmitter nor the interrupt line fails.
            let _ = self.0.write(offset as u8, *value);
        }
    }

    /// Reads the register at `offset`.
    pub(crate) fn read(&mut self, offset: u16, data: &mut [u8]) {
        match data {
            [value] => *value = self.0.read(offset as u8),
            _ => data.fill(NOBODY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    const LINE_CONTROL: u16 = 3;
    const MODEM_CONTROL: u16 = 4;
    const LINE_STATUS: u16 = 5;

    fn serial() -> Serial<Vec<u8>> {
        Serial::new(Console::new(Vec::new(), Arc::new(AtomicBool::new(false))))
    }

    #[test]
    fn the_transmitter_is_always_ready() {
        let mut status = [0];
        serial().read(LINE_STATUS, &mut status);
        assert_eq!(status[0] & 0x60, 0x60, "holding and shift register empty");
    }

    #[test]
    fn only_bytes_for_the_transmitter_are_printed() {
        let mut serial = serial();
        serial.write(LINE_CONTROL, &[0x80]);
        serial.write(0, &[1]);
        serial.write(LINE_CONTROL, &[3]);
        serial.write(0, b"a");
        serial.write(0, b"wide");
        serial.write(1, &[0]);
        serial.console().flush();
        assert_eq!(serial.console().output(), b"a");
    }

    #[test]
    fn looping_back_for_ever_prints_and_keeps_nothing() {
        let mut serial = serial();
        serial.write(MODEM_CONTROL, &[0x10]);
        for _ in 0..100_000 {
            serial.write(0, b"x");
        }
        serial.console().flush();
        assert!(serial.console().output().is_empty());
    }
}
