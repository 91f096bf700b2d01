//! The file that a user gives to be booted: an appliance's ELF file, or a disk image with one on it.

use crate::boot::disk_image::DiskImage;
use crate::boot::image::{IMAGE_LEN_MAX, Image, ImageError};
use crate::error::Error;
use crate::memory::size::MemoryLen;
use crate::regular_file;
use image_header::{BLOCK_LEN, HEADER_BLOCK, HeaderError};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How formats that hold a disk, but not block for block, begin: QEMU's docs/interop/qcow2, VMware's Virtual Disk Format 5.0,
/// Microsoft's VHD 1.0 (a fixed one has its cookie at the end only) and MS-VHDX 2.2.1.
const OTHER_FORMATS: [(&[u8], &str); 5] = [
    (b"QFI\xfb", "qcow2"),
    (b"KDMV", "VMDK"),
    (b"# Disk DescriptorFile", "VMDK"),
    (b"conectix", "dynamic VHD"),
    (b"vhdxfile", "VHDX"),
];

/// A regular file that can be read.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: File,
    /// As the user gave it, for messages.
    pub(crate) path: PathBuf,
    /// When it was opened.
    pub(crate) len_bytes: u64,
}

impl OpenFile {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::ReadImage`], [`Error::ImageNotAFile`].
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let unreadable = |source| Error::ReadImage { path: path.to_owned(), source };
        let opened = regular_file::open(path).map_err(unreadable)?;
        let (file, len_bytes) = opened.ok_or_else(|| Error::ImageNotAFile(path.to_owned()))?;
        Ok(Self { file, path: path.to_owned(), len_bytes })
    }

    /// The file alone.
    pub(crate) fn into_file(self) -> File {
        self.file
    }

    /// Reads a part of it.
    ///
    /// # Errors
    /// [`Error::ReadImage`], also for a part that is not all there; [`Error::ImageTooLong`].
    pub(crate) fn read(&self, offset: u64, len_bytes: u64) -> Result<Vec<u8>, Error> {
        if len_bytes > IMAGE_LEN_MAX {
            return Err(Error::ImageTooLong { path: self.path.clone(), len_bytes });
        }
        let mut bytes = vec![0; len_bytes as usize];
        self.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> Result<(), Error> {
        self.file
            .read_exact_at(bytes, offset)
            .map_err(|source| Error::ReadImage { path: self.path.clone(), source })
    }
}

/// A file to boot, by what it is.
#[derive(Debug)]
pub(crate) enum ImageFile {
    /// An ELF file; whether it is an appliance turns out when it is read.
    Elf(OpenFile),
    /// A disk with a header of ours, which may be damaged.
    Disk(Box<DiskImage>),
    /// Anything else.
    Unknown(OpenFile),
}

impl ImageFile {
    /// Opens a file and looks what it is.
    ///
    /// # Errors
    /// Those of [`OpenFile::open`], and [`Error::DiskFormat`].
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        const HEADER_AT: u64 = HEADER_BLOCK as u64 * BLOCK_LEN as u64;
        let file = OpenFile::open(path)?;
        let mut start = [0; BLOCK_LEN];
        let start_len = file.len_bytes.min(BLOCK_LEN as u64) as usize;
        file.read_exact_at(&mut start[..start_len], 0)?;
        if let Some((_, format)) = OTHER_FORMATS.iter().find(|(magic, _)| start.starts_with(magic)) {
            return Err(Error::DiskFormat { path: file.path, format });
        }
        if start.starts_with(&elf::abi::ELFMAGIC) {
            return Ok(Self::Elf(file));
        }
        if file.len_bytes >= HEADER_AT + BLOCK_LEN as u64 {
            let mut header = [0; BLOCK_LEN];
            file.read_exact_at(&mut header, HEADER_AT)?;
            match image_header::Header::decode(&header) {
                Err(HeaderError::NoHeader) => {}
                header => return Ok(Self::Disk(Box::new(DiskImage::new(file, header)))),
            }
        }
        Ok(Self::Unknown(file))
    }

    /// Reads and checks the image that is in it.
    ///
    /// The file is read once, so that what is checked is what is loaded, whoever changes the file meanwhile.
    ///
    /// # Errors
    /// For a file that can't be read, is damaged, or is no image for this machine.
    pub(crate) fn read_image(&self, memory: MemoryLen) -> Result<Image, Error> {
        match self {
            Self::Elf(file) => parse(file, file.read(0, file.len_bytes)?, memory),
            Self::Disk(disk) => disk.read_image(memory),
            Self::Unknown(file) => Err(Error::Image { path: file.path.clone(), source: ImageError::NotElf }),
        }
    }
}

/// Checks an ELF file that came from this one.
///
/// # Errors
/// [`Error::Image`].
pub(crate) fn parse(file: &OpenFile, bytes: Vec<u8>, memory: MemoryLen) -> Result<Image, Error> {
    Image::parse(bytes, memory).map_err(|source| Error::Image { path: file.path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::status::VmmStatus;

    fn refused(path: impl AsRef<Path>) -> Error {
        let memory = MemoryLen::new(16 << 20).unwrap();
        let error = ImageFile::open(path.as_ref()).and_then(|file| file.read_image(memory)).unwrap_err();
        assert_eq!(error.status(), VmmStatus::Refused);
        error
    }

    #[test]
    fn what_is_no_file_is_refused() {
        assert!(matches!(refused("/nonexistent/image"), Error::ReadImage { .. }));
        assert!(matches!(refused("/"), Error::ImageNotAFile(_)));
        assert!(matches!(refused("/dev/zero"), Error::ImageNotAFile(_)), "which would never end");
        assert!(matches!(refused("/proc/self/exe"), Error::Image { .. }), "an ELF file without a PVH note");
    }

    #[test]
    fn disks_that_are_not_raw_are_named_with_what_to_do() {
        for (magic, format) in OTHER_FORMATS {
            let path = std::env::temp_dir().join(format!("vmm-stub-disk-format-{}", std::process::id()));
            std::fs::write(&path, [magic, &[0; 100]].concat()).unwrap();
            let error = refused(&path).to_string();
            std::fs::remove_file(&path).unwrap();
            assert!(error.contains(&format!("is a {format} image")), "{error}");
            assert!(error.contains(&format!("qemu-img convert -O raw {path:?} ")), "{error}");
        }
    }
}
