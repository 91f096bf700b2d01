//! How the ROM ends when it boots nothing: one line on COM1, then the exit port.

use super::ports::{Hardware, write_u32};
use freehold_rom::ata::Ports;
use guest_interface::ports::{EXIT, SERIAL};
use guest_interface::status::KernelStatus;
use x86::halt;

/// Registers of a 16550, from its base on.
const DIVISOR_LOW: u16 = 0;
const DIVISOR_HIGH: u16 = 1;
const LINE_CONTROL: u16 = 3;
const LINE_STATUS: u16 = 5;

const DIVISOR_LATCH: u8 = 1 << 7;
const EIGHT_BITS_NO_PARITY_ONE_STOP: u8 = 3;
const CAN_TAKE_A_BYTE: u8 = 1 << 5;

/// How often a port that can take no byte is asked again.
const PATIENCE: u32 = 1 << 16;

/// Says why, and ends the machine with [`KernelStatus::BootFailure`], or halts it where it has no exit port.
pub(super) fn fail(message: &str) -> ! {
    // 115200 baud, 8N1.
    let set_up = [
        (LINE_CONTROL, DIVISOR_LATCH),
        (DIVISOR_LOW, 1),
        (DIVISOR_HIGH, 0),
        (LINE_CONTROL, EIGHT_BITS_NO_PARITY_ONE_STOP),
    ];
    for (register, value) in set_up {
        Hardware.write(SERIAL + register, value);
    }
    for byte in ["Freehold ROM: ", message, "\r\n"].iter().flat_map(|part| part.bytes()) {
        let can_take = |_: &u32| Hardware.read(SERIAL + LINE_STATUS) & CAN_TAKE_A_BYTE != 0;
        let _ = (0..PATIENCE).find(can_take);
        Hardware.write(SERIAL, byte);
    }
    // SAFETY: the exit device ends the machine, and touches no memory.
    unsafe { write_u32(EXIT, KernelStatus::BootFailure.code().into()) };
    loop {
        // SAFETY: interrupts are off from the reset on; nothing follows.
        unsafe { halt() };
    }
}
