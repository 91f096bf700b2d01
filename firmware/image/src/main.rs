//! Command line of the disk image tool.

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use disk_image::disk::{Content, UefiLoader, make};
use disk_image::error::Error;
use disk_image::format::Format;
use disk_image::inspect::inspect;
use disk_image::libvirt::{Domain, Firmware, Memory};
use disk_image::{command_line, file};
use std::fmt;
use std::io::{self, Write};
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
        /// The image's format: raw, qcow2, vhd, vmdk, iso or oci.
        #[arg(long, default_value = "raw")]
        format: String,
        /// Arguments for the application, in one word: separated by white space, in double quotes where they hold some.
        #[arg(long, default_value = "", hide_default_value = true, allow_hyphen_values = true)]
        args: String,
        /// A variable for the application; as often as there are variables.
        #[arg(long = "env", value_name = "NAME=VALUE")]
        environment: Vec<String>,
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
    /// Check all of a disk image, of any format, and say what is on it.
    Inspect {
        /// The image.
        image: PathBuf,
    },
    /// Print the libvirt domain of an image, for `virsh create`.
    Libvirt {
        /// The image.
        image: PathBuf,
        /// The domain's name, if not that of the file.
        #[arg(long)]
        name: Option<String>,
        /// The machine's memory, in MiB (M) or GiB (G).
        #[arg(long, default_value = "256M")]
        memory: Memory,
        /// What starts the image: bios, or efi where it has a loader for that.
        #[arg(long, default_value = "bios", value_parser = PossibleValuesParser::new(["bios", "efi"]))]
        firmware: String,
        /// A command line for the kernel in place of the image's.
        #[arg(long, value_name = "LINE", allow_hyphen_values = true)]
        command_line: Option<String>,
    },
}

/// What the kernel knows.
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Make { appliance, output, format, args, environment, log, uefi_loader, force } => {
            command_line::build(&log, &environment, &args).map_err(Error::from).and_then(|line| {
                write_image(&appliance, &output, &format, &line, uefi_loader.as_deref(), force)
            })
        }
        Command::Inspect { image } => say_what_is_on(&image),
        Command::Libvirt { image, name, memory, firmware, command_line } => {
            let firmware = if firmware == "efi" { Firmware::Efi } else { Firmware::Bios };
            describe_domain(&image, name.as_deref(), memory, firmware, command_line.as_deref())
        }
    };
    match done {
        Ok(said) => say(&said),
        Err(error) => fail(format_args!("{error}")),
    }
}

/// Prints something. Nobody has to read it, but it must not be lost.
fn say(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            fail(format_args!("can't print to stdout: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

fn fail(reason: fmt::Arguments<'_>) -> ExitCode {
    let _ = writeln!(io::stderr(), "disk-image: {reason}");
    ExitCode::FAILURE
}

fn write_image(
    appliance: &Path,
    output: &Path,
    format: &str,
    command_line: &str,
    uefi_loader: Option<&Path>,
    force: bool,
) -> Result<String, Error> {
    let format: Format = format.parse()?;
    file::check_place(output, appliance, force)?;
    let bytes = file::read(appliance)?;
    let loader = uefi_loader.map(file::read).transpose()?;
    let loader = uefi_loader.zip(loader.as_deref()).map(|(path, bytes)| UefiLoader { path, bytes });
    let content = Content { path: appliance, appliance: &bytes, command_line, uefi_loader: loader };
    let disk = make(&content, format.layout())?;
    let image = format.pack(disk, output).map_err(|source| Error::Pack { path: output.into(), source })?;
    file::write(output, &image, force)?;
    let firmware = if loader.is_some() { "BIOS or UEFI" } else { "BIOS" };
    Ok(format!(
        "{}: {} bytes, boots {} with '{command_line}' under {firmware}",
        output.display(),
        image.len(),
        appliance.display()
    ))
}

fn say_what_is_on(path: &Path) -> Result<String, Error> {
    let (format, len_bytes, disk) = take_out_disk(path)?;
    let report = inspect(&disk).map_err(|source| Error::Image { path: path.into(), source })?;
    Ok(format!("format        {format}, {len_bytes} bytes\n{report}"))
}

fn describe_domain(
    path: &Path,
    name: Option<&str>,
    memory: Memory,
    firmware: Firmware,
    command_line: Option<&str>,
) -> Result<String, Error> {
    let (format, _, disk) = take_out_disk(path)?;
    inspect(&disk).map_err(|source| Error::Image { path: path.into(), source })?;
    let image = path.canonicalize().map_err(|source| Error::Read { path: path.into(), source })?;
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name = name.unwrap_or(stem);
    Domain { name, image: &image, format, disk: &disk, memory, firmware, command_line }.to_xml()
}

/// The format and length of an image, and the disk in it.
fn take_out_disk(path: &Path) -> Result<(Format, usize, Vec<u8>), Error> {
    let image = file::read(path)?;
    let (format, len_bytes) = (Format::recognize(&image), image.len());
    let disk = format.unpack(image).map_err(|source| Error::Image { path: path.into(), source })?;
    Ok((format, len_bytes, disk))
}
