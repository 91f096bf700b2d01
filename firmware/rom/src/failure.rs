//! Why the ROM boots nothing, and what it says.

use image_header::HeaderError;

/// Declares the failures with the message of each.
macro_rules! failures {
    ($($(#[doc = $doc:literal])+ $variant:ident = $message:literal;)+) => {
        /// Why the ROM boots nothing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Failure { $($(#[doc = $doc])+ $variant),+ }

        impl Failure {
            /// What is said on the console, behind `Freehold ROM: `.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$variant => $message),+ }
            }
        }
    };
}

failures! {
    /// There is no fw_cfg device, or it has no DMA.
    NoFwCfg = "the machine has no fw_cfg with DMA";
    /// fw_cfg reported an error.
    TransferFailed = "fw_cfg transfer failed";
    /// The directory has no room in the ROM's buffer.
    TooManyFiles = "fw_cfg has too many files";
    /// The directory has no `etc/e820`.
    NoMemoryMap = "fw_cfg has no memory map (etc/e820)";
    /// `etc/e820` is not made of whole entries.
    MemoryMapDamaged = "fw_cfg's memory map is damaged";
    /// More ranges than a kernel takes.
    TooManyRanges = "fw_cfg's memory map has too many ranges";
    /// The ROM itself lacks memory.
    NoLowRam = "no RAM below 640 KiB";
    /// The VMM's host information is not what a kernel reads.
    HostInformationDamaged = "host information of a wrong length";
    /// The kernel given by fw_cfg is for another boot protocol.
    NotPvh = "the kernel given has no PVH entry";
    /// The kernel given by fw_cfg does not lie in RAM.
    NoRamForKernel = "no RAM where the kernel belongs; give the machine more memory";
    /// Neither a kernel nor a disk.
    NothingToBoot = "nothing to boot; give a kernel (-kernel) or a disk with a Freehold image";
    /// The disk is too short, or reported an error, or nothing.
    DiskReadFailed = "disk read failed";
    /// The disk has something else where an image has its header.
    NoHeader = "no image header";
    /// The header's checksum is wrong, or it contradicts itself.
    HeaderDamaged = "header damaged";
    /// The header is of another version of the format.
    UnknownVersion = "unknown version";
    /// A segment of the image has no place in RAM.
    NoRamForImage = "no RAM where the image belongs; give the machine more memory";
    /// The image's command line is not what its checksum is of.
    CommandLineDamaged = "command line damaged; write the image again";
    /// A segment is not what its checksum is of.
    KernelDamaged = "kernel damaged; write the image again";
    /// A command line given by fw_cfg is longer than a kernel takes.
    CommandLineTooLong = "the command line given has more than 4095 bytes";
}

impl From<HeaderError> for Failure {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::NoHeader => Self::NoHeader,
            HeaderError::Damaged => Self::HeaderDamaged,
            HeaderError::OtherVersion(_) => Self::UnknownVersion,
        }
    }
}
