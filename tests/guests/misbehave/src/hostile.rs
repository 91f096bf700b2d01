//! Acts against the VMM. It survives them all.

use guest_interface::console::{ConsoleRecord, RECORD_LEN};
use guest_interface::ports;
use unikernel::device::console;
use unikernel::println;
use x86::io::{inb, inl, inw, outb, outl, outw};

/// A status that no guest has.
const BAD_STATUS: u32 = 200;

/// Ends with 0: ports that nobody has read as ones, and swallow what is written.
#[inline(never)]
pub(crate) fn unknown_ports() {
    // Keyboard controller, port A, reset control and ACPI ports end other machines; the rest of the list are ours.
    const SPARED: [u16; 5] = [0x64, 0x92, 0xcf9, ports::EXIT, ports::DEBUGCON];
    let acpi = 0x600..0x610_u16;
    let announced = console::doorbell_port();
    let serial = ports::SERIAL..ports::SERIAL + ports::SERIAL_LEN;
    let all = (0..0x1000_u16).step_by(7).chain([0x80, 0x5658, 0xfff0, 0xffff]);
    for port in all {
        // An access may be 4 bytes wide, so the ports behind count, too.
        let touched = port..=port.saturating_add(3);
        let spared = SPARED.iter().chain(&announced).any(|spared| touched.contains(spared));
        if spared || touched.clone().any(|port| acpi.contains(&port) || serial.contains(&port)) {
            continue;
        }
        // SAFETY: on the VMMs this guest is meant for, nothing at these ports touches its memory.
        unsafe {
            inb(port);
            inw(port);
            inl(port);
        }
        // PCs have devices at low ports that should not be written blindly.
        if port >= 0x500 && announced.is_some() {
            // SAFETY: as above.
            unsafe {
                outb(port, 0xff);
                outw(port, 0xffff);
                outl(port, 0xffff_ffff);
            }
        }
    }
    println!("unknown ports survived");
}

/// Ends with 0: doorbells with records that make no sense print nothing.
#[inline(never)]
pub(crate) fn bad_doorbell() {
    let Some(port) = console::doorbell_port() else {
        println!("no doorbell here");
        return;
    };
    let ring = |address: u32| {
        // SAFETY: the VMM only reads memory, whatever the address.
        unsafe { outl(port, address) };
    };
    // Records outside of RAM, at its edges, and unaligned.
    for address in [0, 1, 0x9_fbf8, 0xbfff_fff8, 0xc000_0000, 0xfee0_0000, 0xffff_fff0, 0xffff_ffff] {
        ring(address);
    }
    // Records whose buffers are.
    let buffers = [
        (0, u32::MAX),
        (0x20_0000, 1 << 30),
        (u64::MAX, 1),
        (u64::MAX - 4, 8),
        (0xbfff_f000, 0x1001),
        (0xfee0_0000, 4),
        (1 << 52, 16),
        (0x20_0000, 0),
        (0x20_0000, guest_interface::console::LINE_LEN_MAX as u32 + 1),
    ];
    let mut record = [0; RECORD_LEN];
    for (address, len_bytes) in buffers {
        record = core::hint::black_box(ConsoleRecord { address, len_bytes }.encode());
        ring(&raw const record as u32);
    }
    core::hint::black_box(record);
    // Narrow accesses.
    // SAFETY: as above.
    unsafe {
        outb(port, 1);
        outw(port, 1);
        inl(port);
    }
    println!("bad doorbells survived");
}

/// Ends with the VMM's status of an invalid guest status; under QEMU, which carries 7 bits, with what is left of it.
#[inline(never)]
pub(crate) fn bad_status() {
    // SAFETY: the port does nothing but end the machine.
    unsafe { outl(ports::EXIT, BAD_STATUS) };
}

/// Ends with 0, after a thousand long lines, text that is not ASCII, and a line of 100,000 bytes.
#[inline(never)]
pub(crate) fn flood() {
    for number in 0..1000 {
        println!("{number:04} {:=>120} äöü 漢字 🦀", "");
    }
    println!("{}", "x".repeat(100_000));
    println!("flood over");
}
