//! Why a kernel could not boot.

use crate::memory::live::BringUpError;
use crate::memory::range_set::TooManyRanges;
use core::fmt;
use guest_interface::fw_cfg::FILE_COMMAND_LINE;

/// What the VMM gave us that the kernel can't start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// No `hvm_start_info` where the entry register points.
    NoStartInfo {
        /// The address in the entry register.
        address: u64,
        /// The word found there.
        magic: u32,
    },
    /// A start info from before memory maps.
    NoMemoryMap {
        /// Its version.
        version: u32,
    },
    /// Something lies where the kernel can't read it at boot: beyond the first GiB.
    Unreadable {
        /// What it is.
        what: &'static str,
        /// Where it was said to be.
        address: u64,
    },
    /// More entries than the kernel keeps.
    MemoryMapTooLong {
        /// How many there are.
        entries: u32,
        /// How many are kept.
        max: usize,
    },
    /// RAM in more pieces than the kernel keeps.
    RamTooScattered {
        /// How many are kept.
        max: usize,
    },
    /// More modules than the kernel keeps.
    TooManyModules {
        /// How many there are.
        modules: u32,
        /// How many are kept.
        max: usize,
    },
    /// No end within the longest command line.
    CommandLineTooLong {
        /// The longest, in bytes.
        max: usize,
    },
    /// A command line handed over by a file, longer than any may be.
    CommandLineFileTooLong {
        /// Its length in bytes.
        len_bytes: u32,
        /// The longest, in bytes.
        max: usize,
    },
    /// A firmware configuration device with more files than the kernel looks through.
    TooManyFirmwareFiles {
        /// How many it says there are.
        files: u32,
        /// How many are looked through.
        max: u32,
    },
    /// Bytes that are not text.
    CommandLineNotUtf8 {
        /// Offset of the first such byte.
        offset: usize,
    },
    /// A log level nobody knows.
    UnknownLogLevel,
    /// The memory map has no free RAM for a heap.
    NoFreeRam,
    /// The processor has no no-execute bit in page tables.
    NoExecuteMissing,
    /// The processor has no page attribute table.
    PageAttributeTableMissing,
    /// There is no address space to live in.
    Memory(BringUpError),
}

impl From<BringUpError> for BootError {
    fn from(error: BringUpError) -> Self {
        Self::Memory(error)
    }
}

impl From<TooManyRanges> for BootError {
    fn from(error: TooManyRanges) -> Self {
        Self::RamTooScattered { max: error.capacity }
    }
}

impl fmt::Display for BootError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStartInfo { address, magic } => {
                write!(formatter, "no PVH start info at {address:#x} (found {magic:#010x}): boot the image by its PVH note")
            }
            Self::NoMemoryMap { version } => {
                write!(formatter, "PVH start info of version {version} has no memory map: use a VMM that gives version 1")
            }
            Self::Unreadable { what, address } => {
                write!(formatter, "the {what} at {address:#x} is not within the first GiB of memory")
            }
            Self::MemoryMapTooLong { entries, max } => {
                write!(formatter, "the memory map has {entries} entries, the kernel reads {max}")
            }
            Self::RamTooScattered { max } => write!(formatter, "RAM lies in more than {max} pieces"),
            Self::TooManyModules { modules, max } => {
                write!(formatter, "{modules} boot modules were given, the kernel reads {max}")
            }
            Self::CommandLineTooLong { max } => write!(formatter, "the command line is longer than {max} bytes"),
            Self::CommandLineFileTooLong { len_bytes, max } => {
                write!(
                    formatter,
                    "the command line in {FILE_COMMAND_LINE} has {len_bytes} bytes: give one of at most {max}"
                )
            }
            Self::TooManyFirmwareFiles { files, max } => {
                write!(formatter, "QEMU's fw_cfg device has {files} files, the kernel looks through {max}: give fewer")
            }
            Self::CommandLineNotUtf8 { offset } => {
                write!(formatter, "the command line is not UTF-8 from byte {offset} on")
            }
            Self::UnknownLogLevel => {
                formatter.write_str("log= on the command line takes off, error, warn, info, debug or trace")
            }
            Self::NoExecuteMissing => {
                formatter.write_str("the processor has no no-execute pages (CPUID 0x80000001 EDX bit 20): give the guest a newer one")
            }
            Self::PageAttributeTableMissing => {
                formatter.write_str("the processor has no page attribute table (CPUID 1 EDX bit 16): give the guest a newer one")
            }
            Self::Memory(cause) => cause.fmt(formatter),
            Self::NoFreeRam => formatter.write_str("the memory map leaves no free RAM above 1 MiB: give the guest more"),
        }
    }
}

impl core::error::Error for BootError {}
