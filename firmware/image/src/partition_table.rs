//! Writes, reads and checks boot sector and partition table of a disk (UEFI specification 5.2 and 5.3).

use crate::disk::blocks;
use crate::error::ImageError;
use crate::inspect::part;
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types::{self, Type};
use gpt::{GptConfig, GptError};
use image_header::{BLOCK_LEN, HEADER_BLOCK, Header};
use sha2::{Digest, Sha256};
use std::io::Cursor;
use std::ops::Range;
use uuid::{Builder, Uuid};

/// The name of the partition that the BIOS loader is in.
pub(crate) const PARTITION_NAME: &str = "Freehold";

/// The name of the EFI system partition.
pub(crate) const SYSTEM_PARTITION_NAME: &str = "Freehold UEFI";

/// Type, name and blocks of a partition.
pub(crate) type Plan = (Type, &'static str, Range<u32>);

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

/// Bytes of an entry.
const ENTRY_LEN: u32 = 128;

/// What the partition table says.
#[derive(Debug)]
pub(crate) struct Partitions {
    /// The GUID of the disk.
    pub(crate) disk_guid: Uuid,
    used: Vec<Partition>,
}

impl Partitions {
    /// Reads the partition table and its copy.
    pub(crate) fn read(disk: &[u8]) -> Result<Self, ImageError> {
        let damaged =
            ImageError::Damaged { part: "the partition table or its copy at the end can't be read" };
        let unreadable = |_| damaged.clone();
        // Entries of another length are none of ours, and more than crate `gpt` takes.
        for header_block in [1, (disk.len() / BLOCK_LEN).saturating_sub(1)] {
            let header =
                u32::try_from(header_block).ok().and_then(|block| part(disk, block, BLOCK_LEN as u32));
            let entry_len =
                header.and_then(|header| header[84..].first_chunk()).map(|len| u32::from_le_bytes(*len));
            if entry_len != Some(ENTRY_LEN) {
                return Err(damaged);
            }
        }
        let config = GptConfig::new().only_valid_headers(true);
        let table = config.open_from_device(Cursor::new(disk.to_vec())).map_err(unreadable)?;
        let used = table.partitions().values().filter(|partition| partition.is_used()).cloned().collect();
        Ok(Self { disk_guid: *table.guid(), used })
    }

    /// Checks that boot sector, table and copy are, byte by byte, what this tool writes for these partitions.
    pub(crate) fn check_bytes(&self, disk: &[u8]) -> Result<(), ImageError> {
        let written = write_table(disk.to_vec(), self.disk_guid, self.used.clone());
        let same = written.is_ok_and(|written| written == disk);
        let part = "boot sector, partition table or its copy are not as they were written";
        same.then_some(()).ok_or(ImageError::Damaged { part })
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

/// The blocks of a disk's EFI system partition, if the partition table can be read and has one. More may follow the disk, as on a
/// stick.
pub(crate) fn efi_partition(disk: &[u8]) -> Option<Range<u64>> {
    let disk = disk.get(..usize::try_from(disk_len(disk).ok()?).ok()?)?;
    let partitions = Partitions::read(disk).ok()?;
    let efi = partitions.used.iter().find(|it| it.part_type_guid == partition_types::EFI)?;
    let end = efi.last_lba.checked_add(1)?;
    (efi.first_lba < end).then_some(efi.first_lba..end)
}

/// Writes a protective MBR with the BIOS loader's boot sector, and a partition table with its copy, onto a disk whose content is in
/// place and ends before `end_block`.
pub(crate) fn write(disk: Vec<u8>, plans: &[Plan], end_block: u32) -> Result<Vec<u8>, GptError> {
    let content =
        |blocks: Range<u32>| &disk[blocks.start as usize * BLOCK_LEN..blocks.end as usize * BLOCK_LEN];
    let disk_guid = guid("disk", content(HEADER_BLOCK..end_block));
    let entry = |(part_type_guid, name, blocks): &Plan| Partition {
        part_type_guid: part_type_guid.clone(),
        part_guid: partition_guid(content(blocks.clone())),
        first_lba: blocks.start.into(),
        last_lba: u64::from(blocks.end) - 1,
        flags: 0,
        name: (*name).to_owned(),
    };
    let partitions = plans.iter().map(entry).collect();
    write_table(disk, disk_guid, partitions)
}

/// The same for partitions and a disk that have their GUIDs.
fn write_table(mut disk: Vec<u8>, disk_guid: Uuid, partitions: Vec<Partition>) -> Result<Vec<u8>, GptError> {
    let blocks_behind_mbr = u32::try_from(disk.len() / BLOCK_LEN - 1).unwrap_or(u32::MAX);
    let mut mbr = ProtectiveMBR::with_lb_size(blocks_behind_mbr);
    mbr.set_bootcode(bios_loader::boot_code());
    disk[..BLOCK_LEN].copy_from_slice(&mbr.to_bytes());
    let config = GptConfig::new().writable(true);
    let mut table = config.create_from_device(Cursor::new(disk), Some(disk_guid))?;
    table.update_partitions((1..).zip(partitions).collect())?;
    Ok(table.write()?.into_inner())
}

/// The GUID of a partition with this content.
pub(crate) fn partition_guid(content: &[u8]) -> Uuid {
    guid("partition", content)
}

/// A GUID that follows from what is on the disk (RFC 9562, version 8).
fn guid(of: &str, content: &[u8]) -> Uuid {
    let hash = Sha256::new().chain_update(of).chain_update(content).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}
