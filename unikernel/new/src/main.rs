//! Command line of the generator.

use clap::Parser;
use new_appliance::write;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Writes the crate of a new appliance.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The checkout of Freehold whose kernel the appliance is built on.
    #[arg(long, value_name = "FOLDER")]
    freehold: PathBuf,

    /// The folder to make; its last component is the crate's name.
    path: PathBuf,
}

fn main() -> ExitCode {
    let Arguments { freehold, path } = Arguments::parse();
    match write(&freehold, &path) {
        Ok(()) => say(format_args!(
            "{}: an appliance; build and boot it there with `cargo run -- arguments`",
            path.display()
        )),
        Err(error) => {
            let _ = writeln!(io::stderr(), "just new: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a line. Nobody has to read it, but it must not be lost.
fn say(line: fmt::Arguments<'_>) -> ExitCode {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "just new: can't print to stdout: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
