//! Files that no document may take the place of: what this process prints to, the image, and the firmware. A document replaces its file
//! (see [`crate::document_file`]), so what is printed would be lost with the file it goes to.

use nix::sys::stat::fstat;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a file is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileUse {
    Stdout,
    Stderr,
    Image,
    Firmware,
}

impl fmt::Display for FileUse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Stdout => "standard output",
            Self::Stderr => "standard error",
            Self::Image => "the appliance",
            Self::Firmware => "the firmware",
        })
    }
}

/// A file by whatever name: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId(u64, u64);

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }

    /// That of an open file, if it is open.
    fn of_open(file: impl AsFd) -> Option<Self> {
        fstat(file).ok().map(|status| Self(status.st_dev, status.st_ino))
    }
}

/// The files, as they were at the start.
#[derive(Debug, Default)]
pub(crate) struct FilesInUse(Vec<(FileId, FileUse)>);

impl FilesInUse {
    /// Looks at the outputs, and at image and firmware, which were read.
    pub(crate) fn look(image: &Path, firmware: Option<&Path>) -> Self {
        let id = |path: &Path| fs::metadata(path).ok().as_ref().map(FileId::of);
        let files = [
            (FileId::of_open(io::stdout()), FileUse::Stdout),
            (FileId::of_open(io::stderr()), FileUse::Stderr),
            (id(image), FileUse::Image),
            (firmware.and_then(id), FileUse::Firmware),
        ];
        Self(files.into_iter().filter_map(|(id, used_as)| Some((id?, used_as))).collect())
    }

    /// What a file is used as, if it is.
    pub(crate) fn find(&self, file: &Metadata) -> Option<FileUse> {
        let wanted = FileId::of(file);
        self.0.iter().find(|(id, _)| *id == wanted).map(|(_, used_as)| *used_as)
    }
}
