//! Greets whom its arguments name, and says how long that took.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use core::time::Duration;
use unikernel::cpu::clock::Instant;
use unikernel::cpu::sleep::sleep;
use unikernel::{environment, heap, log, println};

unikernel::appliance!(greet);

fn greet(arguments: &[String]) -> Result<(), String> {
    let started = Instant::now();
    let greeting = environment::var("GREETING").unwrap_or("hello");
    for name in arguments {
        if name.trim().is_empty() {
            return Err(format!("{name:?} is nobody's name"));
        }
        println!("{greeting}, {name}");
    }
    sleep(Duration::from_millis(1));
    log::info!("names: {}, heap in use: {} bytes", arguments.len(), heap::statistics().allocated_bytes);
    println!("that took {:?}", started.elapsed());
    Ok(())
}
