//! Printing and logging.

use crate::Test;
use alloc::string::String;
use core::fmt::{self, Write};
use unikernel::device::console;
use unikernel::{print, println};

pub(crate) const TESTS: &[Test] = &[
    ("console::lines_of_any_length", lines_of_any_length),
    ("console::a_failing_value_leaves_the_console_usable", a_failing_value_leaves_the_console_usable),
    ("console::log_lines_have_stamps", log_lines_have_stamps),
];

/// The host compares what it sees with the lengths that are printed.
fn lines_of_any_length() {
    for len in [0, 1, 1022, 1023, 1024, 1025, 4095, 4096, 4097, 10_000] {
        println!("line of {len:>5}: {:=>len$}|", "");
    }
    let mut pieces = String::new();
    for number in 0..1000 {
        print!("{number};");
        let _ = write!(pieces, "{number};");
    }
    println!();
    println!("again: {pieces}");
}

struct Failing;

impl fmt::Display for Failing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("begun, ")?;
        Err(fmt::Error)
    }
}

fn a_failing_value_leaves_the_console_usable() {
    print!("{Failing}");
    println!("ended");
    let answer = console::with_lock(|console| writeln!(console, "with the lock").map(|()| 42));
    assert_eq!(answer, Ok(42));
    println!("without it");
}

/// The host compares the stamps.
fn log_lines_have_stamps() {
    log::error!("an error");
    log::warn!("a warning");
    log::info!("an information of 日本");
    log::debug!("a detail");
    log::trace!("a trace");
}
