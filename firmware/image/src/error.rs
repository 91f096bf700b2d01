//! What can go wrong, each as one line.

use crate::format::{Format, QemuImgError};
use guest_interface::layout::COMMAND_LINE_LEN_MAX;
use image_header::{NAME_LEN_MAX, SEGMENTS_MAX};
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why an image was not written, or can't be trusted.
#[derive(Debug, Error)]
pub enum Error {
    /// A file can't be read.
    #[error("can't read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Neither an appliance nor an image is so long.
    #[error("{path:?} is longer than 2 GiB; give the file that the image was made as")]
    FileTooLong {
        /// The file.
        path: PathBuf,
    },
    /// The image can't be written: no room, no permission.
    #[error("can't write {path:?}: {source}")]
    Write {
        /// The image.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is a file already.
    #[error("{path:?} exists; give --force to replace it, or another path")]
    Exists {
        /// The image.
        path: PathBuf,
    },
    /// A device, a folder, or a link: a file of that name would take its place, and not write to it.
    #[error("{path:?} is no regular file; give the path of a file, which `dd` copies to a disk")]
    NoFile {
        /// What was to be the image.
        path: PathBuf,
    },
    /// The image would take the place of what it is made of.
    #[error("{path:?} is the appliance itself; give the image another path")]
    OverTheAppliance {
        /// Both.
        path: PathBuf,
    },
    /// A format that this tool does not write.
    #[error("format '{format}' is not known; there are: {}", Format::ALL.map(Format::name).join(", "))]
    UnknownFormat {
        /// What was asked for.
        format: String,
    },
    /// The file's name has no room in the header, or is not UTF-8.
    #[error("{path:?} has no name of at most {NAME_LEN_MAX} bytes of UTF-8; copy it to one")]
    Name {
        /// The appliance.
        path: PathBuf,
    },
    /// The appliance is none, or none that the loader can load.
    #[error("{path:?} {source}")]
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
    /// A file in the EFI system partition lies where the BIOS loader can't read it.
    #[error(
        "the file system puts a file in pieces, or not at a multiple of 4 KiB; this is a fault of the tool"
    )]
    Scattered,
    /// The command line is longer than a kernel takes, or has a NUL.
    #[error("{0}")]
    CommandLine(#[from] CommandLineError),
    /// The partition table can't be made.
    #[error("can't make the partition table: {0}")]
    PartitionTable(String),
    /// The disk can't be made into an image of the format.
    #[error("can't make {path:?}: {source}")]
    Pack {
        /// The image.
        path: PathBuf,
        /// Why.
        source: PackError,
    },
    /// There is no libvirt domain of an image.
    #[error("{path:?} {source}")]
    Libvirt {
        /// The image.
        path: PathBuf,
        /// Why.
        source: LibvirtError,
    },
    /// The file is no image that boots.
    #[error("{path:?} {source}")]
    Image {
        /// The image.
        path: PathBuf,
        /// Why.
        source: ImageError,
    },
}

/// Why a disk can't be made into an image of a format.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PackError {
    /// The format's tool.
    #[error("{0}")]
    QemuImg(#[from] QemuImgError),
    /// The image's name has to be in it, in quotation marks, and has no room there.
    #[error("a VMDK names itself, and its name has to be short UTF-8 without quotation marks and line ends")]
    Name,
    /// The tool has made something else.
    #[error("qemu-img has made a VMDK without a description that can be read")]
    Description,
    /// A loader can't read it from a CD.
    #[error(
        "the segment at {address:#x} begins within a CD's sector of 2048 bytes; pack the appliance with image-tool"
    )]
    SegmentInSector {
        /// Its physical address.
        address: u32,
    },
    /// There is no header on the disk.
    #[error("the disk has no header")]
    Header,
    /// A name has no room in it.
    #[error("can't make the archive: {0}")]
    Archive(String),
}

/// Why an image has no libvirt domain. The texts continue a sentence that starts with its path.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LibvirtError {
    /// Containers are not for libvirt.
    #[error("is a container image, which libvirt does not start; give an image of another format")]
    Container,
    /// UEFI would find nothing on it.
    #[error("has no EFI system partition, so UEFI can't boot it; give --firmware bios")]
    NoUefiLoader,
    /// libvirt allows no such name.
    #[error("gives the domain a name that is empty or has a '/'; give another by --name")]
    Name,
    /// Control characters, or no UTF-8.
    #[error("has a path, name or command line that XML can't hold")]
    Text,
}

/// Why a command line can't be handed on.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CommandLineError {
    /// With its NUL and the kernel's part.
    #[error(
        "the command line has {len_bytes} bytes, and the kernel takes {COMMAND_LINE_LEN_MAX}; shorten --args and --env"
    )]
    TooLong {
        /// Its length.
        len_bytes: usize,
    },
    /// It ends there for the kernel.
    #[error("the arguments or variables contain a NUL, which ends a command line")]
    Nul,
    /// Not a name, `=` and a value.
    #[error(
        "{given:?} is no variable; give --env NAME=value, with a name without white space, quotes, backslashes"
    )]
    Variable {
        /// What was given.
        given: String,
    },
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
    /// The tool for its format is missing, or finds it damaged.
    #[error("can't be read: {0}")]
    Unreadable(QemuImgError),
    /// Bytes differ from what was written.
    #[error("is damaged: {part}; make it again")]
    Damaged {
        /// The part, and what is wrong with it.
        part: &'static str,
    },
}
