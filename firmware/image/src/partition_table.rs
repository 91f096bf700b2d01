//! Reads and checks the partition table of a disk (UEFI specification 5.3).

use crate::disk::{PARTITION_NAME, SYSTEM_PARTITION_NAME, blocks};
use crate::error::ImageError;
use crate::inspect::part;
use gpt::partition::Partition;
use gpt::{GptConfig, partition_types};
use image_header::{BLOCK_LEN, HEADER_BLOCK, Header};
use std::io::Cursor;
use std::ops::Range;

/// The length in bytes that a disk has by its partition table, whose copy ends it (UEFI specification 5.3.2).
pub(crate) fn disk_len(disk: &[u8]) -> Result<u64, ImageError> {
    const HEADER_LEN: usize = 92;
    const CRC: Range<usize> = 16..20;
    let damaged = ImageError::Damaged { part: "the partition table can't be read" };
    let header: &[u8; HEADER_LEN] =
        part(disk, 1, HEADER_LEN as u32).and_then(<[u8]>::first_chunk).ok_or(damaged.clone())?;
    let mut without_crc = *header;
    without_crc[CRC].fill(0);
    let is_good =
        header.starts_with(b"EFI PART") && header[CRC] == crc32fast::hash(&without_crc).to_le_bytes();
    let copy = header[32..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).filter(|_| is_good);
    Ok(copy.ok_or(damaged)?.saturating_add(1).saturating_mul(BLOCK_LEN as u64))
}

/// What the partition table says.
#[derive(Debug)]
pub(crate) struct Partitions {
    /// The GUID of the disk.
    pub(crate) disk_guid: String,
    used: Vec<Partition>,
}

impl Partitions {
    /// Reads the partition table and its copy.
    pub(crate) fn read(disk: &[u8]) -> Result<Self, ImageError> {
        let unreadable =
            |_| ImageError::Damaged { part: "the partition table or its copy at the end can't be read" };
        let config = GptConfig::new().only_valid_headers(true);
        let table = config.open_from_device(Cursor::new(disk.to_vec())).map_err(unreadable)?;
        let used = table.partitions().values().filter(|partition| partition.is_used()).cloned().collect();
        Ok(Self { disk_guid: table.guid().to_string(), used })
    }

    /// Checks that partitions are where the header says that what is in them is. Returns the EFI system partition.
    pub(crate) fn check(&self, header: &Header) -> Result<Option<&Partition>, ImageError> {
        let stage_end = u64::from(HEADER_BLOCK) + 1 + u64::from(header.stage_blocks);
        let kernel_end = u64::from(header.kernel_block) + u64::from(blocks(header.kernel_len as usize));
        let is_bios = |partition: &Partition, end: u64| {
            partition.part_type_guid == partition_types::BIOS
                && partition.name == PARTITION_NAME
                && (partition.first_lba, partition.last_lba) == (HEADER_BLOCK.into(), end - 1)
        };
        let is_system = |partition: &Partition| {
            partition.part_type_guid == partition_types::EFI
                && partition.name == SYSTEM_PARTITION_NAME
                && (stage_end..=header.kernel_block.into()).contains(&partition.first_lba)
                && kernel_end <= partition.last_lba
        };
        match &self.used[..] {
            [bios] if is_bios(bios, kernel_end) => Ok(None),
            [bios, system] if is_bios(bios, stage_end) && is_system(system) => Ok(Some(system)),
            _ => Err(ImageError::Damaged { part: "the partitions are not where header and kernel are" }),
        }
    }
}
