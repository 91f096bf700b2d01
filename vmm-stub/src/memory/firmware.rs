//! Firmware: a ROM that ends at 4 GiB, where a processor starts after a reset (Intel SDM volume 3, 10.1.4).

use crate::error::Error;
use crate::memory::backing;
use crate::memory::layout::{FIRMWARE_LEN_MAX, Region};
use crate::memory::quantity::Bytes;
use crate::regular_file;
use guest_interface::layout::{DEVICE_HOLE_END, PAGE_LEN};
use std::io::{self, Read};
use std::path::Path;
use vm_memory::{Bytes as _, GuestMemoryRegion, GuestRegionMmap, MemoryRegionAddress};

/// Why a file can't be firmware.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirmwareError {
    #[error("it can't be read: {0}")]
    Read(#[from] io::Error),
    #[error("it is not a regular file")]
    NotAFile,
    #[error(
        "it has {len_bytes} bytes, and a ROM has whole pages of {PAGE_LEN} bytes, at most {}",
        Bytes(FIRMWARE_LEN_MAX)
    )]
    Length { len_bytes: u64 },
}

/// Firmware that was read. What becomes of its file does not matter any more.
#[derive(Debug)]
pub(crate) struct Firmware(Vec<u8>);

impl Firmware {
    /// Reads a ROM's file.
    ///
    /// # Errors
    /// [`Error::Firmware`].
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        Self::read_file(path).map_err(|source| Error::Firmware { path: path.to_owned(), source })
    }

    fn read_file(path: &Path) -> Result<Self, FirmwareError> {
        let (mut file, len_bytes) = regular_file::open(path)?.ok_or(FirmwareError::NotAFile)?;
        if len_bytes == 0 || len_bytes > FIRMWARE_LEN_MAX || !len_bytes.is_multiple_of(PAGE_LEN) {
            return Err(FirmwareError::Length { len_bytes });
        }
        let mut bytes = vec![0; len_bytes as usize];
        file.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// All of the ROM.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Maps it, and puts its bytes there.
    ///
    /// # Errors
    /// [`Error::MapMemory`] if the host gives no address space.
    pub(crate) fn map(&self) -> Result<GuestRegionMmap, Error> {
        let len_bytes = self.0.len() as u64;
        let region = backing::map_small_pages(Region { start: DEVICE_HOLE_END - len_bytes, len_bytes })?;
        region
            .write_slice(&self.0, MemoryRegionAddress(0))
            .map_err(|source| Error::WriteGuest(source.into()))?;
        debug_assert_eq!(region.last_addr().0, DEVICE_HOLE_END - 1);
        Ok(region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::status::VmmStatus;

    #[test]
    fn a_rom_is_whole_pages_that_end_at_4_gib() {
        let path = std::env::temp_dir().join(format!("vmm-stub-firmware-{}", std::process::id()));
        for len in [PAGE_LEN, 5 * PAGE_LEN, FIRMWARE_LEN_MAX] {
            let bytes: Vec<u8> = (0..len).map(|index| (index / 5) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let region = Firmware::read(&path).unwrap().map().unwrap();
            assert_eq!((region.start_addr().0, region.len()), ((4 << 30) - len, len));
            let mut mapped = vec![0; len as usize];
            region.read_slice(&mut mapped, MemoryRegionAddress(0)).unwrap();
            assert!(mapped == bytes, "{len}");
        }
        for len in [0, 1, PAGE_LEN - 1, PAGE_LEN + 512, FIRMWARE_LEN_MAX + PAGE_LEN] {
            std::fs::write(&path, vec![0; len as usize]).unwrap();
            let error = Firmware::read(&path).unwrap_err();
            let is_expected = |source: &FirmwareError| matches!(source, FirmwareError::Length { len_bytes } if *len_bytes == len);
            assert!(matches!(&error, Error::Firmware { source, .. } if is_expected(source)), "{error}");
            assert_eq!(error.status(), VmmStatus::Refused);
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let refused = |path: &str| match Firmware::read(Path::new(path)).unwrap_err() {
            Error::Firmware { source, .. } => source,
            error => panic!("{error}"),
        };
        assert!(matches!(refused("/nonexistent/rom"), FirmwareError::Read(_)));
        assert!(matches!(refused("/"), FirmwareError::NotAFile));
        assert!(matches!(refused("/dev/zero"), FirmwareError::NotAFile), "which would never end");
    }
}
