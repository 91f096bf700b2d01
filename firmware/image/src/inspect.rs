//! Says what is on a disk image, after checking all of it.

use crate::disk::{PARTITION_NAME, blocks, disk_blocks, header_segments};
use crate::error::ImageError;
use crate::kernel::Kernel;
use bios_loader::BOOT_CODE_LEN;
use gpt::{GptConfig, partition_types};
use image_header::{BLOCK_LEN, HEADER_BLOCK, Header, HeaderError};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::Cursor;

/// The signature that ends a boot sector.
const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// What is on a disk whose every part is as it was written. Displays as lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    header: Header,
    command_line: String,
    disk_guid: String,
    is_boot_code_known: bool,
    len_bytes: usize,
}

/// Reads and checks an image.
///
/// # Errors
/// [`ImageError`] for the first part that is not as it must be.
pub fn inspect(disk: &[u8]) -> Result<Report, ImageError> {
    let damaged = |part| ImageError::Damaged { part };
    let header_block = part(disk, HEADER_BLOCK, BLOCK_LEN as u32).and_then(<[u8]>::first_chunk);
    let header_block = header_block.ok_or(ImageError::Foreign { reason: "it is too short" })?;
    let header = Header::decode(header_block).map_err(|error| match error {
        HeaderError::NoHeader => ImageError::Foreign { reason: "it has no header in block 40" },
        HeaderError::Damaged => damaged("the header's checksum is another"),
        HeaderError::OtherVersion(version) => ImageError::OtherVersion { version },
    })?;

    let end_block = header.kernel_block.saturating_add(blocks(header.kernel_len as usize));
    let expected = disk_blocks(end_block) * BLOCK_LEN as u64;
    let truncated = ImageError::Truncated { len_bytes: disk.len(), expected };
    if (disk.len() as u64) < expected {
        return Err(truncated);
    }
    // What lies behind the end can only be meant by a header that was written so.
    let of = |block, len| part(disk, block, len).ok_or(truncated.clone());

    if disk[BLOCK_LEN - BOOT_SIGNATURE.len()..BLOCK_LEN] != BOOT_SIGNATURE {
        return Err(damaged("the boot sector has no signature"));
    }
    let is_boot_code_known = header.tool_version.as_str() == env!("CARGO_PKG_VERSION");
    if is_boot_code_known && disk[..BOOT_CODE_LEN] != bios_loader::boot_code() {
        return Err(damaged("the boot sector's code is another"));
    }
    let stage_len = header.stage_blocks.saturating_mul(BLOCK_LEN as u32);
    if crc32fast::hash(of(HEADER_BLOCK + 1, stage_len)?) != header.stage_crc {
        return Err(damaged("the checksum of the loader's second stage is another"));
    }
    let line = of(header.command_line_block, header.command_line_len)?;
    if crc32fast::hash(line) != header.command_line_crc {
        return Err(damaged("the command line's checksum is another"));
    }
    let command_line = line.strip_suffix(&[0]).and_then(|line| str::from_utf8(line).ok());
    let command_line = command_line.ok_or(damaged("the command line is no text"))?.to_owned();

    let kernel = of(header.kernel_block, header.kernel_len)?;
    if header.kernel_sha256 != *Sha256::digest(kernel) {
        return Err(damaged("the kernel's SHA-256 is another"));
    }
    let read = Kernel::read(kernel).map_err(|_| damaged("the kernel can't be loaded"))?;
    let segments = header_segments(&read, header.kernel_block, kernel);
    if segments != header.segments || read.entry != header.entry {
        return Err(damaged("the header does not describe the kernel"));
    }
    let disk_guid = check_partitions(&disk[..expected as usize], end_block)?;
    Ok(Report { header, command_line, disk_guid, is_boot_code_known, len_bytes: disk.len() })
}

/// Checks the partition table and its copy. Returns the disk's GUID.
fn check_partitions(disk: &[u8], end_block: u32) -> Result<String, ImageError> {
    let unreadable =
        |_| ImageError::Damaged { part: "the partition table or its copy at the end can't be read" };
    let config = GptConfig::new().only_valid_headers(true);
    let table = config.open_from_device(Cursor::new(disk.to_vec())).map_err(unreadable)?;
    let expected = (u64::from(HEADER_BLOCK), u64::from(end_block) - 1);
    let mut partitions = table.partitions().values().filter(|partition| partition.is_used());
    let is_ours = partitions.next().is_some_and(|partition| {
        (partition.first_lba, partition.last_lba) == expected
            && partition.part_type_guid == partition_types::BIOS
            && partition.name == PARTITION_NAME
    });
    if !is_ours {
        return Err(ImageError::Damaged { part: "the partition is not where header and kernel are" });
    }
    Ok(table.guid().to_string())
}

/// Bytes on the disk from a block on.
fn part(disk: &[u8], block: u32, len_bytes: u32) -> Option<&[u8]> {
    disk.get(block as usize * BLOCK_LEN..)?.get(..len_bytes as usize)
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = &self.header;
        writeln!(formatter, "format        raw, {} bytes, GUID {}", self.len_bytes, self.disk_guid)?;
        writeln!(formatter, "written by    disk-image {}", header.tool_version)?;
        let boot_code =
            if self.is_boot_code_known { "" } else { "; boot sector of that version, not checked" };
        writeln!(
            formatter,
            "loader        BIOS, {} bytes behind the boot sector, CRC-32 {:08x}{boot_code}",
            header.stage_blocks as usize * BLOCK_LEN,
            header.stage_crc
        )?;
        let sha256: String = header.kernel_sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(formatter, "kernel        {}, {} bytes", header.name, header.kernel_len)?;
        writeln!(formatter, "SHA-256       {sha256}")?;
        writeln!(formatter, "PVH entry     {:#x}", header.entry)?;
        for segment in &header.segments {
            writeln!(
                formatter,
                "segment       {:#x}, {} bytes, {} from block {} on, CRC-32 {:08x}",
                segment.address, segment.memory_len, segment.disk_len, segment.block, segment.crc
            )?;
        }
        write!(formatter, "command line  {}", self.command_line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Content, make};
    use crate::test_appliance::appliance;
    use std::path::Path;

    const HEADER_AT: usize = HEADER_BLOCK as usize * BLOCK_LEN;

    fn disk() -> Vec<u8> {
        let appliance = appliance();
        let path = Path::new("folder/tiny");
        make(&Content { path, appliance: &appliance, command_line: "log=info -- one" }).unwrap()
    }

    fn header() -> Header {
        Header::decode(disk()[HEADER_AT..].first_chunk().unwrap()).unwrap()
    }

    #[test]
    fn a_good_image_is_reported() {
        let report = inspect(&disk()).unwrap().to_string();
        for line in [
            "kernel        tiny, 4696 bytes\n",
            "PVH entry     0x200040\n",
            "segment       0x200000, 8192 bytes, 600 from block ",
            "command line  log=info -- one",
        ] {
            assert!(report.contains(line), "{report}");
        }
    }

    #[test]
    fn it_may_lie_on_a_larger_disk() {
        let mut disk = disk();
        disk.resize(disk.len() + 4096, 0);
        inspect(&disk).unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        let header = header();
        let at = |block: u32| block as usize * BLOCK_LEN;
        for (place, expected) in [
            (HEADER_AT, "no header in block 40"),
            (HEADER_AT + 100, "the header's checksum"),
            (7, "the boot sector's code"),
            (510, "the boot sector has no signature"),
            (HEADER_AT + BLOCK_LEN, "second stage"),
            (at(header.command_line_block), "the command line's checksum"),
            (at(header.kernel_block) + 3, "SHA-256"),
            (BLOCK_LEN + 60, "the partition table"),
            (disk().len() - BLOCK_LEN, "the partition table"),
        ] {
            let mut disk = disk();
            disk[place] ^= 1;
            let error = inspect(&disk).unwrap_err().to_string();
            assert!(error.contains(expected), "{place}: {error}");
        }
    }

    /// A header whose checksum is right, but that says what is not so.
    #[test]
    fn a_header_that_lies_is_noticed() {
        let changes: [fn(&mut Header); 5] = [
            |header| header.entry += 4,
            |header| header.segments[0].address += 0x1000,
            |header| header.segments[0].memory_len -= 1,
            |header| header.command_line_block = u32::MAX,
            |header| header.stage_blocks = u32::MAX,
        ];
        for change in changes {
            let (mut disk, mut header) = (disk(), header());
            change(&mut header);
            disk[HEADER_AT..HEADER_AT + BLOCK_LEN].copy_from_slice(&header.encode());
            inspect(&disk).unwrap_err();
        }
    }

    #[test]
    fn every_length_is_named_truncated_or_foreign() {
        let disk = disk();
        for len in (0..disk.len()).step_by(509).chain([disk.len() - 1]) {
            match inspect(&disk[..len]).unwrap_err() {
                ImageError::Foreign { .. } => assert!(len < HEADER_AT + BLOCK_LEN, "{len}"),
                ImageError::Truncated { len_bytes, expected } => {
                    assert_eq!((len_bytes, expected), (len, disk.len() as u64));
                }
                error => panic!("{len}: {error}"),
            }
        }
    }
}
