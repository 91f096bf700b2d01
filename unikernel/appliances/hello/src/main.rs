//! The smallest appliance: greets, says where it runs and what it was given, and ends.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::string::String;
use unikernel::cpu::host::Host;
use unikernel::{ApplicationStatus, environment, println};

unikernel::appliance!(greet);

fn greet(arguments: &[String]) -> ApplicationStatus {
    println!("hello from Freehold, running at {}", Host::of_machine().name());
    for argument in arguments {
        println!("argument: {argument:?}");
    }
    for (name, value) in environment::vars() {
        println!("variable: {name}={value:?}");
    }
    ApplicationStatus::SUCCESS
}
