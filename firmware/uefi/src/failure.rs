//! What can go wrong, each as one line in the BIOS loader's words where that has them, and how it ends: by the exit port of a
//! virtual machine, else back in the firmware with an error, or with the machine off where there is no firmware to go back to.

use crate::console;
use crate::files::Missing;
use crate::memory_map::MAP_ENTRIES_MAX;
use core::fmt;
use guest_interface::ports;
use guest_interface::status::KernelStatus;
use image_header::HeaderError;
use uefi::Status;
use uefi::mem::memory_map::MemoryType;
use uefi::runtime::{self, ResetType};

/// Why the kernel is not entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The firmware did not read this application from a file system.
    NoFileSystem(Status),
    /// A file is not there.
    Missing(Missing),
    /// The firmware could not read a file.
    DiskRead,
    /// The header's signature is another.
    NoHeader,
    /// Its checksum or its length is another, or it contradicts itself.
    HeaderDamaged,
    /// It has a version that this loader does not read.
    OtherVersion,
    /// Checksum or length of the command line are not what the header says.
    CommandLineDamaged,
    /// Checksum of a segment or length of the kernel are not what the header says.
    KernelDamaged,
    /// A segment belongs where no RAM is, or below 1 MiB.
    NoRam,
    /// A segment belongs where something has to stay.
    Taken {
        /// First address of it.
        start: u64,
        /// First address behind it.
        end: u64,
        /// What the firmware says it is.
        memory_type: MemoryType,
    },
    /// There is no free memory for the kernel until it can go to its place.
    NoRoom {
        /// Bytes that are needed in one piece.
        len_bytes: u64,
    },
    /// The firmware does not say its memory map.
    NoMemoryMap(Status),
    /// It has more ranges than a kernel reads.
    TooManyRanges,
}

impl From<HeaderError> for Failure {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::NoHeader => Self::NoHeader,
            HeaderError::Damaged => Self::HeaderDamaged,
            HeaderError::OtherVersion(_) => Self::OtherVersion,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFileSystem(status) => {
                write!(formatter, "no file system where it was loaded from: {status}")
            }
            Self::Missing(Missing(path)) => write!(formatter, "{path} is missing; write the image again"),
            Self::DiskRead => formatter.write_str("disk read failed"),
            Self::NoHeader => formatter.write_str("no image header"),
            Self::HeaderDamaged => formatter.write_str("header damaged"),
            Self::OtherVersion => formatter.write_str("unknown version"),
            Self::CommandLineDamaged => formatter.write_str("command line damaged; write the image again"),
            Self::KernelDamaged => formatter.write_str("kernel damaged; write the image again"),
            Self::NoRam => {
                formatter.write_str("no RAM where the image belongs; give the machine more memory")
            }
            Self::Taken { start, end, memory_type } => {
                write!(
                    formatter,
                    "the image belongs where firmware has {start:#x} to {end:#x}: {memory_type:?}"
                )
            }
            Self::NoRoom { len_bytes } => {
                write!(
                    formatter,
                    "no {len_bytes} bytes of free memory below 1 GiB; give the machine more memory"
                )
            }
            Self::NoMemoryMap(status) => write!(formatter, "the firmware has no memory map: {status}"),
            Self::TooManyRanges => {
                write!(formatter, "the firmware's memory map has more than {MAP_ENTRIES_MAX} ranges")
            }
        }
    }
}

/// Says it, and ends the machine if it is a virtual one that can. What this returns is for the firmware.
pub(crate) fn end(failure: &Failure) -> Status {
    console::say(format_args!("{failure}"));
    end_machine(Status::LOAD_ERROR);
    Status::LOAD_ERROR
}

/// Ends a virtual machine by its exit port, and any other if there is no firmware to go back to.
fn end_machine(status: Status) {
    if is_virtual() {
        // SAFETY: port 0xf4 belongs to the VMM's exit device, or to nothing.
        unsafe { x86::io::outl(ports::EXIT, KernelStatus::BootFailure.code().into()) };
    }
    if !console::has_firmware() {
        runtime::reset(ResetType::SHUTDOWN, status, None);
    }
}

/// Whether a hypervisor says that it is there (CPUID 1, ECX bit 31): on a real machine, the port may be anybody's.
fn is_virtual() -> bool {
    core::arch::x86_64::__cpuid(1).ecx & 1 << 31 != 0
}

#[cfg(target_os = "uefi")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let line = info.location().map_or(0, core::panic::Location::line);
    let file = info.location().map_or("?", core::panic::Location::file);
    console::say(format_args!("panic: {} ({file}:{line})", info.message()));
    end_machine(Status::ABORTED);
    // SAFETY: there is firmware, else the machine is off; and this application has nothing that the firmware waits for.
    let _ =
        unsafe { uefi::boot::exit(uefi::boot::image_handle(), Status::ABORTED, 0, core::ptr::null_mut()) };
    runtime::reset(ResetType::SHUTDOWN, Status::ABORTED, None)
}
