//! I/O ports.

use core::arch::asm;
use freehold_rom::ata::Ports;
use image_header::BLOCK_LEN;
use x86::io::{inb, outb, outl};

/// The processor's ports.
pub(super) struct Hardware;

impl Ports for Hardware {
    fn read(&mut self, port: u16) -> u8 {
        // SAFETY: no port that the ROM reads changes memory.
        unsafe { inb(port) }
    }

    fn write(&mut self, port: u16, value: u8) {
        // SAFETY: the ROM writes bytes to the ports of UART and ATA disk alone. Neither has been told to transfer anything to
        // memory by itself.
        unsafe { outb(port, value) }
    }

    fn read_block(&mut self, port: u16, to: &mut [u8; BLOCK_LEN]) {
        // SAFETY: writes the 512 bytes that are borrowed, upwards: the direction flag is clear.
        unsafe {
            asm!(
                "rep insd",
                in("dx") port,
                inout("rdi") to.as_mut_ptr() => _,
                inout("rcx") BLOCK_LEN / 4 => _,
                options(nostack, preserves_flags)
            );
        }
    }

    fn ticks(&mut self) -> u64 {
        // SAFETY: every 64-bit processor has the counter, and it is readable at privilege level 0.
        unsafe { x86::time::rdtsc() }
    }
}

/// Writes 32 bits, and has the compiler assume that all memory whose address is known elsewhere was changed.
///
/// # Safety
/// What the device at the port does then must be sound: whatever it writes to memory is exclusively the caller's.
pub(super) unsafe fn write_u32(port: u16, value: u32) {
    // SAFETY: by the caller's word.
    unsafe { outl(port, value) }
}
