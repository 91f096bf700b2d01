//! What can go wrong, each as one line.

use guest_interface::layout::COMMAND_LINE_LEN_MAX;
use image_header::{NAME_LEN_MAX, SEGMENTS_MAX};
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why an image was not written, or can't be trusted.
#[derive(Debug, Error)]
pub enum Error {
    /// A file can't be read.
    #[error("can't read '{}': {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The image can't be written: no room, no permission.
    #[error("can't write '{}': {source}", path.display())]
    Write {
        /// The image.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is a file already.
    #[error("'{}' exists; give --force to replace it, or another path", path.display())]
    Exists {
        /// The image.
        path: PathBuf,
    },
    /// A format that this tool does not write.
    #[error("format '{format}' is not known; there is: raw")]
    UnknownFormat {
        /// What was asked for.
        format: String,
    },
    /// The file's name has no room in the header, or is not UTF-8.
    #[error("'{}' has no name of at most {NAME_LEN_MAX} bytes of UTF-8; copy it to one", path.display())]
    Name {
        /// The appliance.
        path: PathBuf,
    },
    /// The appliance is none, or none that the loader can load.
    #[error("'{}' {source}", path.display())]
    Kernel {
        /// The appliance.
        path: PathBuf,
        /// Why.
        source: KernelError,
    },
    /// The file given as UEFI loader is none.
    #[error("'{}' {source}", path.display())]
    UefiLoader {
        /// The file.
        path: PathBuf,
        /// Why.
        source: UefiLoaderError,
    },
    /// The EFI system partition can't be made.
    #[error("can't make the EFI system partition: {0}")]
    SystemPartition(io::Error),
    /// A file in the EFI system partition is in pieces, which the BIOS loader can't read.
    #[error("the file system puts a file in pieces; this is a fault of the tool")]
    Fragmented,
    /// The command line is longer than a kernel takes, or has a NUL.
    #[error("{0}")]
    CommandLine(#[from] CommandLineError),
    /// The partition table can't be made.
    #[error("can't make the partition table: {0}")]
    PartitionTable(String),
    /// The file is no image that boots.
    #[error("'{}' {source}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// Why.
        source: ImageError,
    },
}

/// Why a command line can't be handed on.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CommandLineError {
    /// With its NUL and the kernel's part.
    #[error(
        "the command line has {len_bytes} bytes, and the kernel takes {COMMAND_LINE_LEN_MAX}; shorten --args"
    )]
    TooLong {
        /// Its length.
        len_bytes: usize,
    },
    /// It ends there for the kernel.
    #[error("the arguments contain a NUL, which ends a command line")]
    Nul,
}

/// Why a file is no UEFI loader. The texts continue a sentence that starts with its path.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum UefiLoaderError {
    /// No PE file of 64 bits.
    #[error("is no UEFI loader: it is no 64-bit PE file; give the one that `just build` leaves")]
    NoPe,
    /// One that UEFI firmware does not start.
    #[error("is no UEFI loader: it is no UEFI application for x86-64; give the one that `just build` leaves")]
    OtherProgram,
}

/// Why an appliance can't be loaded from a disk. The texts continue a sentence that starts with its path.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KernelError {
    /// Not an ELF file for this processor that `object` can read.
    #[error("is not an appliance: {reason}; give one from target/appliances")]
    NotAnAppliance {
        /// What is missing or different.
        reason: &'static str,
    },
    /// A segment that a loader of whole blocks can't take.
    #[error("has a segment at {address:#x} that can't be loaded: {reason}")]
    Segment {
        /// Its physical address.
        address: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More than the header has room for.
    #[error("has {count} segments; the loader takes {SEGMENTS_MAX}")]
    TooManySegments {
        /// How many.
        count: usize,
    },
    /// It reaches beyond what is mapped when a kernel starts.
    #[error("is too large for the loader: it reaches up to {end:#x} in memory, and {max:#x} is the limit")]
    TooLarge {
        /// The first address behind it.
        end: u64,
        /// The most it can be.
        max: u64,
    },
    /// Block numbers and lengths have 32 bits.
    #[error("is too large for the loader: it has {len_bytes} bytes")]
    FileTooLarge {
        /// The length of the file.
        len_bytes: usize,
    },
}

/// Why a file is no image that boots. The texts continue a sentence that starts with its path.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ImageError {
    /// Nothing of ours.
    #[error("is not a disk image of Freehold: {reason}")]
    Foreign {
        /// What is missing.
        reason: &'static str,
    },
    /// Its header is of another version.
    #[error("has a header of version {version}, which this tool does not read")]
    OtherVersion {
        /// The version.
        version: u32,
    },
    /// The end is missing.
    #[error("is truncated: it has {len_bytes} bytes, and should have {expected}; make it again")]
    Truncated {
        /// Its length.
        len_bytes: usize,
        /// What header and layout demand.
        expected: u64,
    },
    /// Bytes differ from what was written.
    #[error("is damaged: {part}; make it again")]
    Damaged {
        /// The part, and what is wrong with it.
        part: &'static str,
    },
}
