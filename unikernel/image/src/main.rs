//! Command line of the image tool.

use clap::{Parser, Subcommand};
use image_tool::pack_file;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Makes guest images.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Turns a linked appliance into the image that ships: no sections, no debug information, its symbol table inside.
    Pack {
        /// The appliance as cargo has linked it.
        input: PathBuf,
        /// The image to write; one that exists is replaced.
        output: PathBuf,
    },
}

fn main() -> ExitCode {
    let Command::Pack { input, output } = Arguments::parse().command;
    match pack_file(&input, &output) {
        Ok(summary) => say(format_args!("{}: {summary}", output.display())),
        Err(error) => {
            let _ = writeln!(io::stderr(), "image-tool: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a line. Nobody has to read it, but it must not be lost.
fn say(line: fmt::Arguments<'_>) -> ExitCode {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "image-tool: can't print to stdout: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
