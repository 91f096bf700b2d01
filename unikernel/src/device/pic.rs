//! The two 8259 interrupt controllers of a PC, which nothing here uses: masked, so that none of their lines interrupts at
//! the vectors of exceptions, where they may lead.

use x86::io::outb;

const MASTER_DATA: u16 = 0x21;
const SLAVE_DATA: u16 = 0xa1;
const ALL_LINES: u8 = 0xff;

/// Masks all lines. Where there are no such controllers nobody listens.
pub(crate) fn mask() {
    // SAFETY: the ports are those controllers' on every PC, and nobody's elsewhere.
    unsafe {
        outb(MASTER_DATA, ALL_LINES);
        outb(SLAVE_DATA, ALL_LINES);
    }
}
