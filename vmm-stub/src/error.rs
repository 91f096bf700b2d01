//! Everything that can keep a machine from running, each with the line that is printed and what to do about it.

use crate::boot::disk_image::DiskImageError;
use crate::boot::image::{IMAGE_LEN_MAX, ImageError};
use crate::document_file::DocumentKind;
use crate::files_in_use::FileUse;
use crate::host::kvm::KvmUnusable;
use crate::kvm_statistics::StatisticsError;
use crate::memory::backing::hugetlb::HugetlbUnable;
use crate::memory::backing::transparent::ThpUnable;
use crate::memory::firmware::FirmwareError;
use crate::memory::quantity::Bytes;
use guest_interface::layout::COMMAND_LINE_LEN_MAX;
use guest_interface::status::VmmStatus;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// Why there was no machine, or why it was given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Found by clap, already in one line.
    #[error("{0}")]
    Usage(String),

    #[error("can't read {path:?}: {source}; give the path of an appliance or a disk image")]
    ReadImage { path: PathBuf, source: io::Error },

    #[error("{0:?} is not a regular file; give the path of an appliance or a disk image")]
    ImageNotAFile(PathBuf),

    #[error("{path:?} is {}, more than the {} an image can have", Bytes(*.len_bytes), Bytes(IMAGE_LEN_MAX))]
    ImageTooLong { path: PathBuf, len_bytes: u64 },

    #[error("can't run {path:?}: {source}")]
    Image { path: PathBuf, source: ImageError },

    #[error("can't boot {path:?}: {source}")]
    DiskImage { path: PathBuf, source: DiskImageError },

    #[error(
        "{path:?} is a {format} image; convert it to a raw one with `qemu-img convert -O raw {path:?} OUTPUT`, and run that"
    )]
    DiskFormat { path: PathBuf, format: &'static str },

    #[error("{path:?} is {}, and firmware can be given less than 4 GiB; run it without --firmware", Bytes(*.len_bytes))]
    DiskTooLong { path: PathBuf, len_bytes: u64 },

    #[error("can't start from {path:?}: {source}; give --firmware the file of a ROM")]
    Firmware { path: PathBuf, source: FirmwareError },

    #[error("can't load the image: {0}; link it again")]
    LoadImage(#[source] linux_loader::loader::Error),

    #[error("argument {0:?} is not UTF-8; a guest's arguments must be")]
    ArgumentNotUtf8(OsString),

    #[error("argument {0:?} holds a NUL character, which a command line can't carry")]
    ArgumentWithNul(String),

    #[error(
        "--env {given:?} names no variable: a name has no white space, quotes or backslashes; give NAME=value"
    )]
    VariableName { given: OsString },

    #[error("this process has no variable {name}, so --env {name} has no value; give --env {name}=value")]
    VariableMissing { name: String },

    #[error("the value of variable {name} is not UTF-8; a guest's variables must be")]
    VariableNotUtf8 { name: String },

    #[error("the value of variable {name} holds a NUL character, which a command line can't carry")]
    VariableWithNul { name: String },

    #[error(
        "the command line for the guest is {len_bytes} bytes with its NUL, more than {COMMAND_LINE_LEN_MAX}; \
         give fewer or shorter arguments and variables"
    )]
    CommandLineTooLong { len_bytes: usize },

    #[error("--machine picks a machine of QEMU; use it with --host qemu or --host auto")]
    MachineWithoutQemu,

    #[error("--stats tells what KVM counts; use it with --host kvm or --host auto")]
    StatisticsOfQemu,
    #[error("--backing picks host memory for a guest on KVM; use it with --host kvm or --host auto")]
    BackingWithoutKvm,

    #[error(
        "--memory is {len_bytes} bytes and --backing hugetlb-2m needs whole pages of 2 MiB; the next lower is {}M",
        .len_bytes >> 21 << 1
    )]
    BackingMisfit { len_bytes: u64 },

    #[error("--result and --stats name the same file, {0:?}; give them two")]
    SameFile(PathBuf),

    #[error(
        "the {document} can't be written to {path:?}, which is not a regular file; give {} another path",
        .document.option()
    )]
    NotAFile { document: DocumentKind, path: PathBuf },

    #[error(
        "the {document} can't be written to {path:?}, which is {used_as}; {}",
        elsewhere(*.document, *.used_as)
    )]
    FileInUse { document: DocumentKind, path: PathBuf, used_as: FileUse },

    #[error(
        "the statistics document can't be written to standard output, which is closed or open for reading only; open it, \
         or give --stats a file"
    )]
    NoStdout,

    #[error(
        "the {document} can't be written to {path:?}: {source}; give {} a file that can be",
        .document.option()
    )]
    Unwritable { document: DocumentKind, path: PathBuf, source: io::Error },

    #[error(
        "the guest shall have {} of memory and the host has {} available; give a smaller --memory or free some",
        Bytes(*.wanted), Bytes(*.available)
    )]
    HostMemory { wanted: u64, available: u64 },

    #[error("the host can't map the guest's memory: {0}; give a smaller --memory")]
    MapMemory(#[source] Box<dyn std::error::Error + Send + Sync>),

    #[error(transparent)]
    Thp(#[from] ThpUnable),

    #[error(transparent)]
    Hugetlb(#[from] HugetlbUnable),

    #[error(
        "--backing picks host memory for a guest on KVM, which can't be used: {unusable}; \
         see `vmm-stub doctor`, or leave --backing out to run on QEMU"
    )]
    BackingNeedsKvm { unusable: KvmUnusable },

    #[error("{unusable}; {}", .unusable.advice())]
    Kvm { unusable: KvmUnusable },

    #[error("--stats tells what KVM counts, and {unusable}; see `vmm-stub doctor`, or leave --stats out")]
    StatisticsNeedKvm { unusable: KvmUnusable },

    #[error(
        "this KVM gives no statistics (KVM_CAP_BINARY_STATS_FD); use Linux 5.14 or newer, or leave --stats out"
    )]
    StatisticsMissing,

    #[error("the statistics of KVM can't be used: {0}; leave --stats out")]
    StatisticsUnusable(#[source] StatisticsError),

    #[error("KVM refuses {what}: {source}; run `vmm-stub doctor`")]
    KvmRefuses { what: &'static str, source: io::Error },

    #[error("qemu-system-x86_64 was not found; install it with `apt-get install qemu-system-x86`")]
    QemuNotFound,

    #[error("QEMU could not be started: {0}")]
    QemuStart(#[source] io::Error),

    #[error("QEMU itself failed with status {0} before the guest gave one; its own message says why")]
    QemuFailed(i32),

    #[error("QEMU was killed by signal {0}; nothing is known of the guest")]
    QemuKilled(i32),

    #[error("KVM gave up on the guest: {0}")]
    Run(#[source] io::Error),

    #[error("can't {what}: {source}")]
    System { what: &'static str, source: io::Error },

    #[error("interrupted by a signal before the guest ran")]
    Interrupted,

    #[error("can't write the boot data to guest memory: {0}")]
    WriteGuest(#[source] Box<dyn std::error::Error + Send + Sync>),

    #[error("the guest published no result, so {path:?} stays as it was")]
    NoResult { path: PathBuf },

    #[error("the {document} is lost: {path:?} can't be written: {source}")]
    DocumentLost { document: DocumentKind, path: PathBuf, source: io::Error },

    #[error("the statistics of KVM are lost: {0}")]
    StatisticsLost(#[source] StatisticsError),

    #[error("the statistics document is lost: it can't be printed: {0}")]
    StatisticsNotPrinted(#[source] io::Error),

    #[error("a thread of the VMM ended without a result")]
    ThreadLost,
}

impl Error {
    /// The status that a process ends with which prints this error.
    pub(crate) const fn status(&self) -> VmmStatus {
        match self {
            Self::Usage(_)
            | Self::ReadImage { .. }
            | Self::ImageNotAFile(_)
            | Self::ImageTooLong { .. }
            | Self::Image { .. }
            | Self::DiskImage { .. }
            | Self::DiskFormat { .. }
            | Self::DiskTooLong { .. }
            | Self::Firmware { .. }
            | Self::LoadImage(_)
            | Self::ArgumentNotUtf8(_)
            | Self::ArgumentWithNul(_)
            | Self::VariableName { .. }
            | Self::VariableMissing { .. }
            | Self::VariableNotUtf8 { .. }
            | Self::VariableWithNul { .. }
            | Self::CommandLineTooLong { .. }
            | Self::MachineWithoutQemu
            | Self::BackingWithoutKvm
            | Self::BackingMisfit { .. }
            | Self::StatisticsOfQemu
            | Self::SameFile(_)
            | Self::NotAFile { .. }
            | Self::FileInUse { .. }
            | Self::NoStdout
            | Self::Unwritable { .. } => VmmStatus::Refused,
            Self::HostMemory { .. }
            | Self::MapMemory(_)
            | Self::Thp(_)
            | Self::Hugetlb(_)
            | Self::BackingNeedsKvm { .. }
            | Self::Kvm { .. }
            | Self::StatisticsNeedKvm { .. }
            | Self::StatisticsMissing
            | Self::StatisticsUnusable(_)
            | Self::KvmRefuses { .. }
            | Self::QemuNotFound
            | Self::QemuStart(_)
            | Self::QemuFailed(_) => VmmStatus::HostUnable,
            Self::QemuKilled(_)
            | Self::Run(_)
            | Self::System { .. }
            | Self::WriteGuest(_)
            | Self::NoResult { .. }
            | Self::DocumentLost { .. }
            | Self::StatisticsLost(_)
            | Self::StatisticsNotPrinted(_)
            | Self::ThreadLost => VmmStatus::VmmError,
            Self::Interrupted => VmmStatus::Interrupted,
        }
    }

    /// For an ioctl that sets a machine up: wraps its error with what it was for.
    pub(crate) fn kvm(what: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Self {
        move |source| Self::KvmRefuses { what, source: source.into() }
    }

    /// For a system call of the VMM's own working: wraps its error with what it was for.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { what, source: source.into() }
    }
}

/// Where a document can go instead of to a file that is in use.
fn elsewhere(document: DocumentKind, used_as: FileUse) -> String {
    match (document, used_as) {
        (DocumentKind::Statistics, FileUse::Stdout) => "use `--stats -`".to_owned(),
        _ => format!("give {} another path", document.option()),
    }
}
