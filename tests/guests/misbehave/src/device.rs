//! What a guest can do to its host through ports and the console.

use alloc::string::String;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::fmt::Write;
use core::ops::Range;
use guest_interface::console::LINE_LEN_MAX;
use guest_interface::debug_stream::status_message;
use guest_interface::layout::DEVICE_HOLE_START;
use guest_interface::ports::{DEBUGCON, DEBUGCON_PRESENT, EXIT, SLEEP_CONTROL};
use guest_interface::record::{self, RECORD_LEN};
use unikernel::device::console;
use unikernel::memory::ram;
use unikernel::{ApplicationStatus, print, println};
use x86::io::{inb, inl, inw, outb, outl, outw};

use crate::{place, survived};

/// Ranges in which neither `vmm-stub` nor a PC of QEMU's has a device.
const UNKNOWN_PORTS: [Range<u16>; 5] =
    [0x100..0x170, 0x2a0..0x2e8, 0x300..0x370, 0x1000..0x5650, 0x6000..0xa000];
/// Steps through the ranges: an odd one meets every alignment, and fewer accesses save minutes.
const PORT_STEP: usize = 37;

/// Ends with status 0: reads are answered with anything, writes have no effect.
#[inline(never)]
pub(crate) fn unknown_ports(_: &[String]) -> ApplicationStatus {
    let mut buffer = [0x5a_u8; 64];
    for port in UNKNOWN_PORTS.into_iter().flat_map(|range| range.step_by(PORT_STEP)) {
        // SAFETY: nobody listens at these ports.
        unsafe {
            outb(port, inb(port));
            outw(port, inw(port));
            outl(port, inl(port));
        }
    }
    // SAFETY: nobody listens there either; `rep` stays inside of the buffer.
    unsafe {
        asm!("rep outsb", in("dx") 0x300_u16, inout("rsi") buffer.as_ptr() => _, inout("rcx") buffer.len() => _);
        asm!("rep insb", in("dx") 0x300_u16, inout("rdi") buffer.as_mut_ptr() => _, inout("rcx") buffer.len() => _);
    }
    println!("misbehave: all ports answered");
    ApplicationStatus::SUCCESS
}

/// Ends with status 0: reads where no device is are answered, writes have no effect. Of each width there are two reads and a
/// write.
#[inline(never)]
pub(crate) fn no_device(_: &[String]) -> ApplicationStatus {
    let Some(window) = place::window() else {
        println!("misbehave: registers can't be mapped");
        return ApplicationStatus::FAILURE;
    };
    let start = window.start().as_u64() as usize;
    println!("misbehave: u8 {:x?}", around_a_write(start, 0_u8));
    println!("misbehave: u16 {:x?}", around_a_write(start + 2, 0_u16));
    println!("misbehave: u32 {:x?}", around_a_write(start + 0x7f4, 0_u32));
    println!("misbehave: u64 {:x?}", around_a_write(start + 0xff8, 0_u64));
    ApplicationStatus::SUCCESS
}

/// What is read before and after a write.
fn around_a_write<T>(address: usize, value: T) -> [T; 2] {
    let register = core::ptr::with_exposed_provenance_mut::<T>(address);
    // SAFETY: the caller has it mapped for this, aligned, and nothing reads there what was written. Any bits are a `T`.
    unsafe {
        let before = register.read_volatile();
        register.write_volatile(value);
        [before, register.read_volatile()]
    }
}

/// Ends with status 0: what is written to the ACPI tables has no effect under `vmm-stub`.
#[inline(never)]
pub(crate) fn write_tables(_: &[String]) -> ApplicationStatus {
    let Some(tables) = place::tables() else {
        println!("misbehave: the ACPI tables can't be mapped");
        return ApplicationStatus::FAILURE;
    };
    let [before, after] = around_a_write(tables.range().start.as_u64() as usize, *b"gone");
    println!("misbehave: '{}' is '{}' after a write", before.escape_ascii(), after.escape_ascii());
    ApplicationStatus::SUCCESS
}

/// A record that rings are made with. Static, as it must lie below 4 GiB.
#[repr(align(16))]
struct Record(UnsafeCell<[u8; 32]>);

// SAFETY: only `bad_doorbell` uses it, on the one processor there is.
unsafe impl Sync for Record {}

static RECORD: Record = Record(UnsafeCell::new([0; 32]));

/// Ends with status 0: the VMM drops what makes no sense. Hosts without a doorbell are told apart by what is printed.
#[inline(never)]
pub(crate) fn bad_doorbell(_: &[String]) -> ApplicationStatus {
    let Some(port) = console::doorbell_port() else {
        println!("misbehave: this host has no doorbell");
        return ApplicationStatus::SUCCESS;
    };
    let ram_end =
        ram::of_machine().and_then(|ram| ram.all().ranges().last().map(|range| range.end)).unwrap_or(0);
    let low_ram_end = ram_end.min(DEVICE_HOLE_START);
    let ring = |address: u32| {
        // SAFETY: the VMM only reads memory, wherever the address leads.
        unsafe { outl(port, address) };
    };
    for address in
        [0, 1, 0x9_fbf8, low_ram_end - 8, low_ram_end - 1, low_ram_end, 0xfee0_0000, u32::MAX.into()]
    {
        ring(address as u32);
    }
    let text = c"misbehave: this line is rung by hand\n".to_bytes();
    let good = text.as_ptr() as u64;
    let records = [
        (0, 0),
        (good, 0),
        (good, u32::MAX),
        (good, LINE_LEN_MAX as u32 + 1),
        (u64::MAX, 1),
        (u64::MAX - 8, 16),
        (1 << 63, 1),
        (ram_end - 4, 8),
        (ram_end, 1),
        (DEVICE_HOLE_START - 4, 8),
        (0xfee0_0000, 64),
    ];
    let unaligned = RECORD.0.get() as u32 + 3;
    for (address, len_bytes) in records.into_iter().chain([(good, text.len() as u32)]) {
        let record = record::Record { address, len_bytes }.encode();
        // SAFETY: the static has room for a record at offset 3, and this function has it to itself.
        unsafe { (unaligned as usize as *mut [u8; RECORD_LEN]).write_unaligned(record) };
        ring(unaligned);
    }
    // SAFETY: accesses that the doorbell does not have.
    unsafe {
        outb(port, 0x10);
        outw(port, 0x1000);
        let _ = (inb(port), inw(port), inl(port));
    }
    println!("misbehave: still able to print");
    ApplicationStatus::SUCCESS
}

/// Ends with the VMM's status 120: 200 is nobody's status. QEMU's exit device can't carry it, its debug console can.
#[inline(never)]
pub(crate) fn bad_status(_: &[String]) -> ApplicationStatus {
    const STATUS: u8 = 200;
    // SAFETY: all that these ports can do is to end the machine.
    unsafe {
        if inb(DEBUGCON) == DEBUGCON_PRESENT {
            for byte in status_message(STATUS) {
                outb(DEBUGCON, byte);
            }
        }
        outl(EXIT, STATUS.into());
    }
    survived()
}

/// Ends with the VMM's status 118 under `vmm-stub`, and only by the last write: what comes before it is no soft off.
#[inline(never)]
pub(crate) fn power_off(_: &[String]) -> ApplicationStatus {
    const TYPE_OFF: u8 = 5 << 2;
    const ENABLE: u8 = 1 << 5;
    const WAKE_STATUS: u8 = 1 << 7;
    // SAFETY: all that this port can do is to end the machine.
    unsafe {
        for ignored in [0, TYPE_OFF, ENABLE, ENABLE | 7 << 2, WAKE_STATUS] {
            outb(SLEEP_CONTROL, ignored);
        }
        outw(SLEEP_CONTROL, (TYPE_OFF | ENABLE).into());
        outl(SLEEP_CONTROL, (TYPE_OFF | ENABLE).into());
        println!("misbehave: the sleep register reads as {}", inb(SLEEP_CONTROL));
        outb(SLEEP_CONTROL, TYPE_OFF | ENABLE);
    }
    survived()
}

/// Ends with status 0, after 500 long lines and one of 20 000 characters.
#[inline(never)]
pub(crate) fn flood(_: &[String]) -> ApplicationStatus {
    for number in 0..500 {
        println!("flood {number:03} {}", "grüße, 世界! ".repeat(20));
    }
    for _ in 0..2000 {
        print!("0123456789");
    }
    println!();
    console::with_lock(|console| {
        // A character may be cut where one buffer ends and the next begins; the bytes are still all there.
        let _ = console.write_str(&"ü".repeat(3000));
        let _ = console.write_str("\n");
    });
    println!("flood: done");
    ApplicationStatus::SUCCESS
}
