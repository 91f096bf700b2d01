//! Command line of the disk image tool.

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use disk_image::disk::{Content, UefiLoader, make};
use disk_image::error::Error;
use disk_image::inspect::inspect;
use disk_image::{command_line, file};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Makes disk images that boot an appliance under a PC's BIOS and UEFI firmware.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a disk image of an appliance.
    Make {
        /// The appliance, as `just build` leaves it.
        appliance: PathBuf,
        /// The image to write.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        /// The image's format: raw.
        #[arg(long, default_value = "raw")]
        format: String,
        /// Arguments for the application, in one word: separated by white space, in double quotes where they hold some.
        #[arg(long, default_value = "", hide_default_value = true, allow_hyphen_values = true)]
        args: String,
        /// Log level of the kernel.
        #[arg(long, default_value = "info", value_parser = PossibleValuesParser::new(LOG_LEVELS))]
        log: String,
        /// The UEFI loader, as `just build` leaves it; without one, only a BIOS boots the image.
        #[arg(long, value_name = "FILE")]
        uefi_loader: Option<PathBuf>,
        /// Replace the image if it exists.
        #[arg(long)]
        force: bool,
    },
    /// Check all of a disk image, and say what is on it.
    Inspect {
        /// The image.
        image: PathBuf,
    },
}

/// What the kernel knows.
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Make { appliance, output, format, args, log, uefi_loader, force } => {
            let write = || write_image(&appliance, &output, &args, &log, uefi_loader.as_deref(), force);
            check_format(&format).and_then(|()| write())
        }
        Command::Inspect { image } => say_what_is_on(&image),
    };
    match done {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("disk-image: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check_format(format: &str) -> Result<(), Error> {
    if format == "raw" { Ok(()) } else { Err(Error::UnknownFormat { format: format.to_owned() }) }
}

fn write_image(
    appliance: &Path,
    output: &Path,
    args: &str,
    log: &str,
    uefi_loader: Option<&Path>,
    force: bool,
) -> Result<String, Error> {
    let command_line = command_line::build(log, args)?;
    let bytes = read(appliance)?;
    let loader = uefi_loader.map(read).transpose()?;
    let loader = uefi_loader.zip(loader.as_deref()).map(|(path, bytes)| UefiLoader { path, bytes });
    let content =
        Content { path: appliance, appliance: &bytes, command_line: &command_line, uefi_loader: loader };
    let disk = make(&content)?;
    file::write(output, &disk, force)?;
    let firmware = if loader.is_some() { "BIOS or UEFI" } else { "BIOS" };
    Ok(format!(
        "{}: {} bytes, boots {} with '{command_line}' under {firmware}",
        output.display(),
        disk.len(),
        appliance.display()
    ))
}

fn say_what_is_on(image: &Path) -> Result<String, Error> {
    let report = inspect(&read(image)?).map_err(|source| Error::Image { path: image.into(), source })?;
    Ok(report.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read { path: path.into(), source })
}
