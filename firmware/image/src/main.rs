//! Command line of the disk image tool.

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use disk_image::disk::{Content, make};
use disk_image::error::Error;
use disk_image::format::Format;
use disk_image::inspect::inspect;
use disk_image::{command_line, file};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Makes disk images that boot an appliance under a PC's BIOS.
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
        /// The image's format: raw, qcow2, vhd, vmdk, iso or oci.
        #[arg(long, default_value = "raw")]
        format: String,
        /// Arguments for the application, in one word: separated by white space, in double quotes where they hold some.
        #[arg(long, default_value = "", hide_default_value = true, allow_hyphen_values = true)]
        args: String,
        /// Log level of the kernel.
        #[arg(long, default_value = "info", value_parser = PossibleValuesParser::new(LOG_LEVELS))]
        log: String,
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
        Command::Make { appliance, output, format, args, log, force } => {
            write_image(&appliance, &output, &format, &args, &log, force)
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

fn write_image(
    appliance: &Path,
    output: &Path,
    format: &str,
    args: &str,
    log: &str,
    force: bool,
) -> Result<String, Error> {
    let format: Format = format.parse()?;
    let command_line = command_line::build(log, args)?;
    let bytes = read(appliance)?;
    let content = Content { path: appliance, appliance: &bytes, command_line: &command_line };
    let disk = make(&content, format.layout())?;
    let image = format.pack(disk, output).map_err(|source| Error::Pack { path: output.into(), source })?;
    file::write(output, &image, force)?;
    Ok(format!(
        "{}: {} bytes, boots {} with '{command_line}'",
        output.display(),
        image.len(),
        appliance.display()
    ))
}

fn say_what_is_on(path: &Path) -> Result<String, Error> {
    let image = read(path)?;
    let (format, len_bytes) = (Format::recognize(&image), image.len());
    let report = format.unpack(image).and_then(|disk| inspect(&disk));
    let report = report.map_err(|source| Error::Image { path: path.into(), source })?;
    Ok(format!("format        {format}, {len_bytes} bytes\n{report}"))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read { path: path.into(), source })
}
