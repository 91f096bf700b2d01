//! The files of the image, on the partition that the firmware read this application from.

use crate::failure::Failure;
use uefi::boot::{self, ScopedProtocol};
use uefi::proto::media::file::{Directory, File, FileAttribute, FileMode, RegularFile};
use uefi::proto::media::fs::SimpleFileSystem;
use uefi::{CStr16, Status, cstr16};

/// The header: the same block that the BIOS loader reads.
pub(crate) const HEADER: &CStr16 = cstr16!("\\freehold\\header");
/// The command line, with its NUL.
pub(crate) const COMMAND_LINE: &CStr16 = cstr16!("\\freehold\\cmdline");
/// The kernel, an ELF file.
pub(crate) const KERNEL: &CStr16 = cstr16!("\\freehold\\kernel");

/// The path of a file that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing(pub(crate) &'static CStr16);

/// The partition.
pub(crate) struct Files {
    root: Directory,
    _file_system: ScopedProtocol<SimpleFileSystem>,
}

impl Files {
    /// Opens the partition.
    ///
    /// # Errors
    /// [`Failure::NoFileSystem`].
    pub(crate) fn of_this_application() -> Result<Self, Failure> {
        let no_file_system = |error: uefi::Error| Failure::NoFileSystem(error.status());
        let mut file_system = boot::get_image_file_system(boot::image_handle()).map_err(no_file_system)?;
        let root = file_system.open_volume().map_err(no_file_system)?;
        Ok(Self { root, _file_system: file_system })
    }

    /// Opens a file of a known length.
    ///
    /// # Errors
    /// [`Failure`]; `damaged` if it has another length, or is a folder.
    pub(crate) fn open(
        &mut self,
        path: &'static CStr16,
        len_bytes: u64,
        damaged: Failure,
    ) -> Result<OpenFile, Failure> {
        let opened = self.root.open(path, FileMode::Read, FileAttribute::empty());
        let file = opened.map_err(|error| match error.status() {
            Status::NOT_FOUND => Failure::Missing(Missing(path)),
            _ => Failure::DiskRead,
        })?;
        let mut file = file.into_regular_file().ok_or(damaged)?;
        file.set_position(RegularFile::END_OF_FILE).map_err(|_| Failure::DiskRead)?;
        if file.get_position().map_err(|_| Failure::DiskRead)? != len_bytes {
            return Err(damaged);
        }
        Ok(OpenFile { file, damaged })
    }

    /// Fills `bytes` with all of a file.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub(crate) fn read_whole(
        &mut self,
        path: &'static CStr16,
        bytes: &mut [u8],
        damaged: Failure,
    ) -> Result<(), Failure> {
        self.open(path, bytes.len() as u64, damaged)?.read(0, bytes)
    }
}

/// An open file.
pub(crate) struct OpenFile {
    file: RegularFile,
    damaged: Failure,
}

impl OpenFile {
    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// [`Failure::DiskRead`]; what the file was opened with if it ends before.
    pub(crate) fn read(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), Failure> {
        self.file.set_position(offset).map_err(|_| Failure::DiskRead)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = self.file.read(rest).map_err(|_| Failure::DiskRead)?;
            if len == 0 {
                return Err(self.damaged);
            }
            rest = &mut rest[len..];
        }
        Ok(())
    }
}
