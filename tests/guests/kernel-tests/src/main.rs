//! Tests of the kernel that run inside a guest.
//!
//! | arguments | what happens |
//! |---|---|
//! | none | runs all tests and prints how many passed |
//! | `NAME` | runs one test |
//! | `--list` | prints the names of all tests, one a line |
//! | `--wait MILLISECONDS` | ends after this time by the guest's clock, for the host to compare with its own |
//!
//! After each test the heap, the free frames and the free addresses have to be as they were before it, and after the last
//! one the audit has to be clean. A test that fails panics, and so ends the guest with status 96; the last name printed is its own.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod address_space;
mod console;
mod device_windows;
mod diagnosis;
mod heap;
mod heap_blocks;
mod heap_pages;
mod image;
mod interrupts;
mod large_leaves;
mod machine;
mod mappings;
mod memory_core;
mod spoilt_tables;
mod time;
mod timers;
mod walk;

use alloc::string::String;
use machine::Balance;
use unikernel::{ApplicationStatus, println};

unikernel::appliance!(run);

/// A test by name.
type Test = (&'static str, fn());

const GROUPS: &[&[Test]] = &[
    heap::TESTS,
    heap_pages::TESTS,
    image::TESTS,
    memory_core::TESTS,
    address_space::TESTS,
    mappings::TESTS,
    large_leaves::TESTS,
    device_windows::TESTS,
    spoilt_tables::TESTS,
    time::TESTS,
    timers::TESTS,
    interrupts::TESTS,
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
    let report = machine::audit();
    assert!(report.is_clean() && report.outstanding == 0, "{report}");
    ApplicationStatus::SUCCESS
}

fn run_one((name, test): &Test) {
    println!("test {name}");
    let before = Balance::now();
    test();
    let mut after = Balance::now();
    if *name == memory_core::KEEPS_MEMORY {
        after.allocated_bytes = before.allocated_bytes;
        after.unpromised_frames = before.unpromised_frames;
    }
    assert_eq!(after, before, "what {name} has left");
}

fn usage() -> ApplicationStatus {
    println!("kernel-tests: usage: kernel-tests [NAME | --list | --wait MILLISECONDS]");
    ApplicationStatus::USAGE
}
