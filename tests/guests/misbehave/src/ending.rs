//! Ways in which software ends a machine.

use alloc::string::String;
use core::fmt::Write;
use unikernel::device::console;
use unikernel::{ApplicationStatus, println};

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
