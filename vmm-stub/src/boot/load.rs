//! Reads an image from its file and loads it into guest memory.

use crate::boot::image::{IMAGE_LEN_MAX, Image};
use crate::error::Error;
use crate::memory::GuestMemory;
use crate::memory::size::MemoryLen;
use linux_loader::loader::{Elf, KernelLoader};
use std::fs::OpenOptions;
use std::io::{Cursor, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads and checks an image.
///
/// The file is read once and whole, so that what is checked is what is loaded, whoever changes the file meanwhile.
///
/// # Errors
/// For a file that can't be read or is not an image for this machine.
pub(crate) fn read_image(path: &Path, memory: MemoryLen) -> Result<Image, Error> {
    let unreadable = |source| Error::ReadImage { path: path.to_owned(), source };
    // Not blocking, because opening a FIFO would otherwise wait for a writer.
    let non_blocking = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(non_blocking).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Error::ImageNotAFile(path.to_owned()));
    }
    let len_bytes = metadata.len();
    if len_bytes > IMAGE_LEN_MAX {
        return Err(Error::ImageTooLong { path: path.to_owned(), len_bytes });
    }
    let mut bytes = Vec::with_capacity(len_bytes as usize);
    file.take(IMAGE_LEN_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    Image::parse(bytes, memory).map_err(|source| Error::Image { path: path.to_owned(), source })
}

/// Loads the segments of a checked image. What a segment has in memory beyond its bytes in the file stays zero, because
/// guest memory is new.
///
/// # Errors
/// [`Error::LoadImage`] for notes that the check does not read and the loader does, or for memory that is not the one the
/// image was checked for.
pub(crate) fn load(image: &Image, memory: &GuestMemory) -> Result<(), Error> {
    // No offset: only then does the loader accept a PVH image.
    Elf::load(memory, None, &mut Cursor::new(image.bytes()), None).map(drop).map_err(Error::LoadImage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::status::VmmStatus;

    #[test]
    fn what_is_no_file_is_refused() {
        let memory = MemoryLen::new(16 << 20).unwrap();
        let refused = |path: &str| {
            let error = read_image(Path::new(path), memory).unwrap_err();
            assert_eq!(error.status(), VmmStatus::Refused);
            error
        };
        assert!(matches!(refused("/nonexistent/image"), Error::ReadImage { .. }));
        assert!(matches!(refused("/"), Error::ImageNotAFile(_)));
        assert!(matches!(refused("/dev/zero"), Error::ImageNotAFile(_)), "which would never end");
        assert!(matches!(refused("/proc/self/exe"), Error::Image { .. }), "an ELF file without a PVH note");
    }
}
