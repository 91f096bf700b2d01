//! Command line of the generator.

use clap::Parser;
use new_appliance::write;
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
        Ok(()) => {
            println!(
                "{}: an appliance; build and boot it there with `cargo run -- arguments`",
                path.display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("just new: {error}");
            ExitCode::FAILURE
        }
    }
}
