//! Lays out a disk. The same appliance and command line always give the same bytes.
//!
//! ```text
//! block 0      protective MBR, with the loader's boot sector as its code
//! block 1      GUID partition table: header, then 32 blocks of entries
//! block 34     unused
//! block 40     the one partition: the loader's header, behind it its second stage,
//!              the command line, and at a multiple of 4 KiB the kernel's file, as it is
//! the last 33  the partition table's copy
//! ```
//!
//! A disk is at least one cylinder long: SeaBIOS reads the boot sector by cylinder, head and sector, and finds none on less.

use crate::error::Error;
use crate::kernel::{Kernel, LoadSegment};
use arrayvec::{ArrayString, ArrayVec};
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types;
use gpt::{GptConfig, GptError};
use image_header::{BLOCK_LEN, HEADER_BLOCK, Header, SEGMENTS_MAX, Segment, TOOL_VERSION_LEN_MAX};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use uuid::{Builder, Uuid};

/// Blocks of the partition table's copy: its entries and its header.
const TABLE_COPY_BLOCKS: u64 = 33;

/// Least blocks of a disk: one cylinder of 16 heads and 63 sectors.
const DISK_BLOCKS_MIN: u64 = 16 * 63;

/// The partition's name.
pub(crate) const PARTITION_NAME: &str = "Freehold";

/// The kernel begins at a multiple of this, in blocks: 4 KiB.
const KERNEL_ALIGN_BLOCKS: u32 = 8;

/// What goes onto a disk.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The appliance's path, for errors and the name in the header.
    pub path: &'a Path,
    /// Its bytes.
    pub appliance: &'a [u8],
    /// The command line, without NUL.
    pub command_line: &'a str,
}

/// Makes a disk.
///
/// # Errors
/// [`Error`] if the appliance is none, or does not fit.
pub fn make(content: &Content<'_>) -> Result<Vec<u8>, Error> {
    let kernel = Kernel::read(content.appliance)
        .map_err(|source| Error::Kernel { path: content.path.into(), source })?;
    let no_name = || Error::Name { path: content.path.into() };
    let name = content.path.file_name().and_then(|name| name.to_str()).ok_or_else(no_name)?;
    let name = ArrayString::from(name).map_err(|_| no_name())?;
    let stage = bios_loader::stage();
    let command_line = [content.command_line.as_bytes(), &[0]].concat();

    let stage_blocks = blocks(stage.len());
    let command_line_block = HEADER_BLOCK + 1 + stage_blocks;
    let kernel_block =
        (command_line_block + blocks(command_line.len())).next_multiple_of(KERNEL_ALIGN_BLOCKS);
    let header = Header {
        stage_crc: crc32fast::hash(stage),
        stage_blocks,
        entry: kernel.entry,
        command_line_block,
        command_line_len: command_line.len() as u32,
        command_line_crc: crc32fast::hash(&command_line),
        kernel_block,
        kernel_len: content.appliance.len() as u32,
        kernel_sha256: Sha256::digest(content.appliance).into(),
        name,
        tool_version: tool_version(),
        segments: header_segments(&kernel, kernel_block, content.appliance),
    };
    let header_block = header.encode();

    let end_block = kernel_block + blocks(content.appliance.len());
    let mut disk = vec![0; disk_blocks(end_block) as usize * BLOCK_LEN];
    for (block, bytes) in [
        (HEADER_BLOCK, &header_block[..]),
        (HEADER_BLOCK + 1, stage),
        (command_line_block, &command_line),
        (kernel_block, content.appliance),
    ] {
        let at = block as usize * BLOCK_LEN;
        disk[at..at + bytes.len()].copy_from_slice(bytes);
    }
    partition(disk, end_block).map_err(|error| Error::PartitionTable(error.to_string()))
}

/// This tool's version.
fn tool_version() -> ArrayString<TOOL_VERSION_LEN_MAX> {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const { assert!(VERSION.len() <= TOOL_VERSION_LEN_MAX) };
    ArrayString::from(VERSION).unwrap_or_default()
}

/// What the header says of the segments of a kernel whose file begins at `kernel_block`.
pub(crate) fn header_segments(
    kernel: &Kernel,
    kernel_block: u32,
    file: &[u8],
) -> ArrayVec<Segment, SEGMENTS_MAX> {
    let segment = |it: &LoadSegment| Segment {
        block: kernel_block + it.offset / BLOCK_LEN as u32,
        address: it.address,
        disk_len: it.file_len,
        memory_len: it.memory_len,
        crc: crc32fast::hash(&file[it.offset as usize..][..it.file_len as usize]),
    };
    kernel.segments.iter().map(segment).collect()
}

/// Blocks of a disk whose partition ends before `end_block`.
pub(crate) fn disk_blocks(end_block: u32) -> u64 {
    (u64::from(end_block) + TABLE_COPY_BLOCKS).max(DISK_BLOCKS_MIN)
}

/// Writes the protective MBR with the boot code, and the partition table with its copy.
fn partition(mut disk: Vec<u8>, end_block: u32) -> Result<Vec<u8>, GptError> {
    let content = &disk[HEADER_BLOCK as usize * BLOCK_LEN..end_block as usize * BLOCK_LEN];
    let (disk_guid, partition_guid) = (guid("disk", content), guid("partition", content));
    let entry = Partition {
        part_type_guid: partition_types::BIOS,
        part_guid: partition_guid,
        first_lba: HEADER_BLOCK.into(),
        last_lba: u64::from(end_block) - 1,
        flags: 0,
        name: PARTITION_NAME.to_owned(),
    };
    let blocks_behind_mbr = u32::try_from(disk.len() / BLOCK_LEN - 1).unwrap_or(u32::MAX);
    let mut mbr = ProtectiveMBR::with_lb_size(blocks_behind_mbr);
    mbr.set_bootcode(bios_loader::boot_code());
    disk[..BLOCK_LEN].copy_from_slice(&mbr.to_bytes());
    let config = GptConfig::new().writable(true);
    let mut table = config.create_from_device(Cursor::new(disk), Some(disk_guid))?;
    table.update_partitions(BTreeMap::from([(1, entry)]))?;
    Ok(table.write()?.into_inner())
}

/// A GUID that follows from what is on the disk (RFC 9562, version 8).
fn guid(of: &str, content: &[u8]) -> Uuid {
    let hash = Sha256::new().chain_update(of).chain_update(content).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// Blocks that hold `len` bytes; lengths here are below 4 GiB.
pub(crate) fn blocks(len: usize) -> u32 {
    len.div_ceil(BLOCK_LEN) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_appliance::appliance;

    /// The offsets that firmware/README.md names.
    #[test]
    fn everything_is_in_its_place() {
        let (appliance, path) = (appliance(), Path::new("tiny"));
        let disk = make(&Content { path, appliance: &appliance, command_line: "log=info" }).unwrap();
        let holds = |at: usize, bytes: &[u8]| assert_eq!(&disk[at..at + bytes.len()], bytes, "at {at:#x}");
        holds(0, &bios_loader::boot_code());
        holds(440, &[0; 6]);
        // One partition of type 0xee from block 1 to the end.
        holds(446 + 4, &[0xee]);
        holds(446 + 8, &[1u32.to_le_bytes(), 1007u32.to_le_bytes()].concat());
        holds(510, &[0x55, 0xaa]);
        holds(0x200, b"EFI PART");
        holds(0x5000, b"FREEHOLD");
        holds(0x5200, bios_loader::stage());
        let command_line = 0x5200 + bios_loader::stage().len();
        holds(command_line, b"log=info\0");
        holds((command_line + 9).next_multiple_of(0x1000), &appliance);
        holds(disk.len() - BLOCK_LEN, b"EFI PART");
        assert_eq!(disk.len(), 1008 * BLOCK_LEN);
    }

    #[test]
    fn a_name_without_room_is_refused() {
        let (appliance, name) = (appliance(), "n".repeat(33));
        let content = Content { path: Path::new(&name), appliance: &appliance, command_line: "" };
        assert!(matches!(make(&content), Err(Error::Name { .. })));
    }
}
