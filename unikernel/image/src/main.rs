//! Command line of the image tool.

use clap::{Parser, Subcommand};
use image_tool::pack_file;
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
        Ok(summary) => {
            println!("{}: {summary}", output.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("image-tool: {error}");
            ExitCode::FAILURE
        }
    }
}
