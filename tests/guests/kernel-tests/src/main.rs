//! Tests of the kernel that run inside a guest.
//!
//! | arguments | what happens |
//! |---|---|
//! | none | runs all tests and prints how many passed |
//! | `NAME` | runs one test |
//! | `--list` | prints the names of all tests, one a line |
//! | `--wait MILLISECONDS` | ends after this time by the guest's clock, for the host to compare with its own |
//!
//! A test that fails panics, and so ends the guest with status 96; the last name printed is its own.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod address_space;
mod console;
mod diagnosis;
mod heap;
mod image;
mod memory_core;
mod time;
mod walk;

use alloc::string::String;
use unikernel::{ApplicationStatus, println};

unikernel::appliance!(run);

/// A test by name.
type Test = (&'static str, fn());

const GROUPS: &[&[Test]] = &[
    heap::TESTS,
    image::TESTS,
    memory_core::TESTS,
    address_space::TESTS,
    time::TESTS,
    console::TESTS,
    diagnosis::TESTS,
];

fn run(arguments: &[String]) -> ApplicationStatus {
    let tests = || GROUPS.iter().copied().flatten();
    match arguments {
        [] => {
            tests().for_each(run_one);
            println!("{} passed, 0 failed", tests().count());
        }
        [option] if option == "--list" => tests().for_each(|(name, _)| println!("{name}")),
        [option, time] if option == "--wait" => match time.parse() {
            Ok(milliseconds) => time::wait(milliseconds),
            Err(_) => return usage(),
        },
        [name] => match tests().find(|(other, _)| other == name) {
            Some(test) => {
                run_one(test);
                println!("1 passed, 0 failed");
            }
            None => return usage(),
        },
        _ => return usage(),
    }
    ApplicationStatus::SUCCESS
}

fn run_one((name, test): &Test) {
    println!("test {name}");
    test();
}

fn usage() -> ApplicationStatus {
    println!("kernel-tests: usage: kernel-tests [NAME | --list | --wait MILLISECONDS]");
    ApplicationStatus::USAGE
}
