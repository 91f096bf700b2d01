//! Does one bad thing, named by its first argument, for the whole-system tests to see how the machine ends.
//!
//! Each act is a function of its own, whose name the kernel's or VMM's message shows.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod device;
mod ending;
mod memory;
mod place;
mod processor;

use alloc::string::String;
use unikernel::{ApplicationStatus, println};

unikernel::appliance!(misbehave);

/// An act by name. It gets the arguments behind its name; most never return.
type Act = (&'static str, fn(&[String]) -> ApplicationStatus);

const ACTS: &[Act] = &[
    ("exit", ending::exit),
    ("panic", ending::panic),
    ("panic-holding-console", ending::panic_holding_console),
    ("spoil-tables", ending::spoil_tables),
    ("read", |arguments| memory::at_place(arguments, memory::read)),
    ("write", |arguments| memory::at_place(arguments, memory::write)),
    ("call", |arguments| memory::at_place(arguments, memory::call)),
    ("push", |arguments| memory::at_place(arguments, memory::push)),
    ("stack-overflow", memory::stack_overflow),
    ("large-frame", memory::large_frame),
    ("allocate-forever", memory::allocate_forever),
    ("fail-in-handler", memory::fail_in_handler),
    ("spin", processor::spin),
    ("halt", processor::halt),
    ("halt-unmasked", processor::halt_unmasked),
    ("triple-fault", processor::triple_fault),
    ("divide", processor::divide),
    ("invalid-opcode", processor::invalid_opcode),
    ("breakpoint", processor::breakpoint),
    ("stray-interrupt", processor::stray_interrupt),
    ("unknown-ports", device::unknown_ports),
    ("no-device", device::no_device),
    ("write-tables", device::write_tables),
    ("bad-doorbell", device::bad_doorbell),
    ("bad-status", device::bad_status),
    ("power-off", device::power_off),
    ("flood", device::flood),
];

fn misbehave(arguments: &[String]) -> ApplicationStatus {
    let wanted = arguments.first().map_or("", String::as_str);
    let Some((_, act)) = ACTS.iter().find(|(name, _)| *name == wanted) else {
        let names: alloc::vec::Vec<&str> = ACTS.iter().map(|(name, _)| *name).collect();
        println!("misbehave: '{wanted}' is no act; give one of {}", names.join(", "));
        return ApplicationStatus::USAGE;
    };
    println!("misbehave: {wanted}");
    act(&arguments[1..])
}

/// Says that an act which should have ended the machine did not.
fn survived() -> ApplicationStatus {
    println!("misbehave: still running");
    ApplicationStatus::FAILURE
}
