//! Where an image comes from: a disk that is read by the block, and the one that fw_cfg gives as a file.

use crate::failure::Failure;
use crate::fw_cfg::{File, FwCfg};
use image_header::BLOCK_LEN;

/// The disk is too short, reported an error, or did not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadFailed;

impl From<ReadFailed> for Failure {
    fn from(_: ReadFailed) -> Self {
        Self::DiskReadFailed
    }
}

/// A disk.
pub trait Disk {
    /// Fills `to` from a block's first byte on.
    ///
    /// # Errors
    /// [`ReadFailed`]; then `to` holds anything.
    fn read(&mut self, block: u32, to: &mut [u8]) -> Result<(), ReadFailed>;
}

/// The disk whose bytes are a file of fw_cfg.
pub struct FwCfgDisk<'a, F> {
    fw_cfg: &'a mut F,
    file: File,
}

impl<'a, F: FwCfg> FwCfgDisk<'a, F> {
    /// The disk in a file.
    #[must_use]
    pub const fn new(fw_cfg: &'a mut F, file: File) -> Self {
        Self { fw_cfg, file }
    }
}

impl<F: FwCfg> Disk for FwCfgDisk<'_, F> {
    fn read(&mut self, block: u32, to: &mut [u8]) -> Result<(), ReadFailed> {
        let start = u64::from(block) * BLOCK_LEN as u64;
        // Behind its end, fw_cfg would give zeros.
        if start + to.len() as u64 > u64::from(self.file.len) {
            return Err(ReadFailed);
        }
        // No longer than the file, whose length is 32 bits.
        self.fw_cfg.read(self.file.key, start as u32, to).map_err(|_| ReadFailed)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fw_cfg::tests::Items;

    /// A disk in memory.
    pub(crate) struct Bytes(pub(crate) Vec<u8>);

    impl Disk for Bytes {
        fn read(&mut self, block: u32, to: &mut [u8]) -> Result<(), ReadFailed> {
            let start = block as usize * BLOCK_LEN;
            to.copy_from_slice(self.0.get(start..start + to.len()).ok_or(ReadFailed)?);
            Ok(())
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_end() {
        let content: Vec<u8> = (0..1500).map(|index| (index / 7) as u8).collect();
        let mut items = Items::new();
        items.items.insert(9, content.clone());
        let mut disk = FwCfgDisk::new(&mut items, File { key: 9, len: 1500 });
        let mut to = [0; 476];
        assert_eq!(disk.read(2, &mut to), Ok(()));
        assert_eq!(to, content[1024..]);
        assert_eq!(disk.read(2, &mut [0; 477]), Err(ReadFailed));
        assert_eq!(disk.read(3, &mut [0; 1]), Err(ReadFailed));
        assert_eq!(disk.read(u32::MAX, &mut [0; 512]), Err(ReadFailed));
    }
}
