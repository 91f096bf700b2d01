//! Ways in which software ends a machine.

use alloc::string::String;
use core::fmt::Write;
use unikernel::device::console;
use unikernel::memory::address::PhysAddr;
use unikernel::memory::live::in_ram_window;
use unikernel::{ApplicationStatus, appliance, println};

use crate::survived;

/// Ends with the status that its argument says, 0 to 95.
#[inline(never)]
pub(crate) fn exit(arguments: &[String]) -> ApplicationStatus {
    let number = arguments.first().and_then(|number| number.parse().ok());
    number.and_then(ApplicationStatus::new).unwrap_or_else(|| {
        println!("misbehave: exit needs a status from 0 to 95");
        ApplicationStatus::USAGE
    })
}

/// Ends with status 96, a panic.
#[inline(never)]
pub(crate) fn panic(_: &[String]) -> ApplicationStatus {
    panic!("misbehaving on request");
}

/// Ends with status 96, a panic, and still says so: what was printed on the held console does not get in the way.
#[inline(never)]
pub(crate) fn panic_holding_console(_: &[String]) -> ApplicationStatus {
    console::with_lock(|console| {
        let _ = console.write_str("half a line");
        panic!("misbehaving with the console held");
    })
}

/// Ends with status 102, a failed audit: an entry of the root is in use that belongs to nobody.
#[inline(never)]
pub(crate) fn spoil_tables(_: &[String]) -> ApplicationStatus {
    const SLOT: usize = 256;
    /// Neither present nor awaiting a flush.
    const MALFORMED: u64 = 1 << 9;
    // SAFETY: reading CR3 changes nothing.
    let root = unsafe { x86::controlregs::cr3() } & 0x000f_ffff_ffff_f000;
    appliance::audit();
    println!("misbehave: nothing is wrong yet");
    // SAFETY: the window shows the root, and the processor takes the entry for one that is not present, as it was.
    unsafe { in_ram_window(PhysAddr::new(root)).cast::<u64>().add(SLOT).write_volatile(MALFORMED) };
    appliance::audit();
    survived()
}
