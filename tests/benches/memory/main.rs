//! `just bench memory`: page tables and frame allocators against their peers and against floors, in one process over the
//! same simulated RAM, by turns in one run. Ratios are what counts; nothing fails for being slow, but a contestant that
//! does its work wrongly ends the run.

mod arena;
mod code_size;
mod frame;
mod free_list;
mod simulation;
mod table;

use arena::Arena;
use std::error::Error;
use std::process::ExitCode;
use system_tests::contest;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench memory: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let arena = Arena::map()?;
    println!("{}; medians of {} passes by turns, in nanoseconds", arena.describe()?, contest::PASSES);
    table::hold(arena)?;
    table::tracked::hold(arena)?;
    frame::hold(arena)?;
    frame::two_cpus::hold(arena)?;
    code_size::print()
}
