//! Says what is on a disk image, after checking all of it.

use crate::disk::header_segments;
use crate::error::ImageError;
use crate::kernel::Kernel;
use crate::partition_table::{self, Partitions, partition_guid};
use crate::system_partition::{self, Files, check_loader};
use bios_loader::BOOT_CODE_LEN;
use image_header::{BLOCK_LEN, HEADER_BLOCK, Header, HeaderError};
use sha2::{Digest, Sha256};
use std::fmt;
use uuid::Uuid;

/// The signature that ends a boot sector.
const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// What is on a disk whose every part is as it was written. Displays as lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    header: Header,
    command_line: String,
    disk_guid: Uuid,
    is_boot_code_known: bool,
    uefi_loader: Option<LoaderFile>,
    len_bytes: usize,
}

/// What is known of a UEFI loader.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LoaderFile {
    len_bytes: usize,
    sha256: [u8; 32],
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

    let expected = partition_table::disk_len(disk)?;
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
    let partitions = Partitions::read(&disk[..expected as usize])?;
    let system_partition = partitions.check(&header)?;
    if is_boot_code_known {
        partitions.check_bytes(&disk[..expected as usize])?;
    }
    let uefi_loader = system_partition.map(|partition| {
        let (first, len) = (
            partition.first_lba as u32,
            partition.last_lba.saturating_sub(partition.first_lba).saturating_add(1),
        );
        let volume = of(first, u32::try_from(len.saturating_mul(BLOCK_LEN as u64)).unwrap_or(u32::MAX))?;
        if partition.part_guid != partition_guid(volume) {
            return Err(damaged("the EFI system partition is not as it was written"));
        }
        check_system_partition(volume, header_block, line, kernel, is_boot_code_known)
    });
    Ok(Report {
        command_line,
        disk_guid: partitions.disk_guid,
        is_boot_code_known,
        uefi_loader: uefi_loader.transpose()?,
        len_bytes: disk.len(),
        header,
    })
}

/// Checks that the EFI system partition has a UEFI loader, and, if this version has written it, that it is byte by byte what is
/// written for that loader and the rest of the disk. Nothing else reads it as a file system: it may be made to mislead.
fn check_system_partition(
    volume: &[u8],
    header: &[u8],
    command_line: &[u8],
    kernel: &[u8],
    is_of_this_version: bool,
) -> Result<LoaderFile, ImageError> {
    let damaged = |part| ImageError::Damaged { part };
    let loader = system_partition::loader(volume).filter(|loader| check_loader(loader).is_ok());
    let loader = loader.ok_or(damaged("the EFI system partition has no UEFI loader"))?;
    let written = || system_partition::make(&Files { loader, header, command_line, kernel });
    if is_of_this_version && !written().is_ok_and(|written| written == volume) {
        return Err(damaged("the files of the EFI system partition are not what the BIOS loader loads"));
    }
    Ok(LoaderFile { len_bytes: loader.len(), sha256: Sha256::digest(loader).into() })
}

/// Bytes on the disk from a block on.
pub(crate) fn part(disk: &[u8], block: u32, len_bytes: u32) -> Option<&[u8]> {
    disk.get(block as usize * BLOCK_LEN..)?.get(..len_bytes as usize)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = &self.header;
        writeln!(formatter, "disk          {} bytes, GUID {}", self.len_bytes, self.disk_guid)?;
        writeln!(formatter, "written by    disk-image {}", header.tool_version)?;
        let boot_code =
            if self.is_boot_code_known { "" } else { "; boot sector of that version, not checked" };
        writeln!(
            formatter,
            "loader        BIOS, {} bytes behind the boot sector, CRC-32 {:08x}{boot_code}",
            header.stage_blocks as usize * BLOCK_LEN,
            header.stage_crc
        )?;
        if let Some(loader) = &self.uefi_loader {
            writeln!(
                formatter,
                "loader        UEFI, {} bytes, SHA-256 {}",
                loader.len_bytes,
                hex(&loader.sha256)
            )?;
        }
        writeln!(formatter, "kernel        {}, {} bytes", header.name, header.kernel_len)?;
        writeln!(formatter, "SHA-256       {}", hex(&header.kernel_sha256))?;
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
    use crate::disk::{Content, Layout, UefiLoader, make};
    use crate::system_partition::tests::loader;
    use crate::test_appliance::appliance;
    use std::path::Path;

    const HEADER_AT: usize = HEADER_BLOCK as usize * BLOCK_LEN;

    fn made(uefi_loader: Option<&[u8]>, layout: Layout) -> Vec<u8> {
        let (appliance, path) = (appliance(), Path::new("folder/tiny"));
        let uefi_loader = uefi_loader.map(|bytes| UefiLoader { path, bytes });
        make(&Content { path, appliance: &appliance, command_line: "log=info -- one", uefi_loader }, layout)
            .unwrap()
    }

    fn disk() -> Vec<u8> {
        made(None, Layout::RAW)
    }

    fn disk_with_uefi() -> Vec<u8> {
        made(Some(&loader()), Layout::RAW)
    }

    fn header_of(disk: &[u8]) -> Header {
        Header::decode(disk[HEADER_AT..].first_chunk().unwrap()).unwrap()
    }

    fn header() -> Header {
        header_of(&disk())
    }

    #[test]
    fn a_good_image_is_reported() {
        for disk in [disk(), disk_with_uefi()] {
            let report = inspect(&disk).unwrap().to_string();
            for line in [
                "kernel        tiny, 4696 bytes\n",
                "PVH entry     0x200040\n",
                "segment       0x200000, 8192 bytes, 600 from block ",
                "command line  log=info -- one",
            ] {
                assert!(report.contains(line), "{report}");
            }
        }
        let loader = format!("UEFI, 1024 bytes, SHA-256 {}\n", hex(&Sha256::digest(loader())));
        assert!(inspect(&disk_with_uefi()).unwrap().to_string().contains(&loader), "{loader}");
        assert!(!inspect(&disk()).unwrap().to_string().contains("UEFI"));
    }

    /// A byte in each block of the EFI system partition, which the second entry of the table is about.
    #[test]
    fn every_change_of_the_system_partition_is_noticed() {
        let disk = disk_with_uefi();
        let block =
            |at: usize| u64::from_le_bytes(*disk[2 * BLOCK_LEN + 128 + at..].first_chunk().unwrap()) as usize;
        let (first, last) = (block(32), block(40));
        assert!(last > first + 10, "{first} to {last}");
        for block in first..=last {
            let mut spoilt = disk.clone();
            spoilt[block * BLOCK_LEN + block % BLOCK_LEN] ^= 1;
            inspect(&spoilt).unwrap_err();
        }
    }

    /// Partitions whose GUIDs are right, and whose files are not those of the header.
    #[test]
    fn a_system_partition_of_another_disk_is_noticed() {
        let (disk, appliance, loader) = (disk_with_uefi(), appliance(), loader());
        let line = &b"log=info -- one\0"[..];
        let header = &disk[HEADER_AT..HEADER_AT + BLOCK_LEN];
        let check = |loader, of_files: [&[u8]; 3]| {
            let [header_file, command_line, kernel] = of_files;
            let files = Files { loader, header: header_file, command_line, kernel };
            let volume = system_partition::make(&files).unwrap();
            check_system_partition(&volume, header, line, &appliance, true).map(drop)
        };
        let damaged = |part| Err(ImageError::Damaged { part });
        assert_eq!(check(&loader, [header, line, &appliance]), Ok(()));
        for files in [
            [&[0; 512], line, &appliance],
            [header, b"log=info -- two\0", &appliance],
            [header, line, &appliance[1..]],
        ] {
            let part = "the files of the EFI system partition are not what the BIOS loader loads";
            assert_eq!(check(&loader, files), damaged(part));
        }
        let no_loader = "the EFI system partition has no UEFI loader";
        assert_eq!(check(b"MZ", [header, line, &appliance]), damaged(no_loader));
        let volume = [0; 4096];
        assert_eq!(
            check_system_partition(&volume, header, line, &appliance, true).map(drop),
            damaged(no_loader)
        );
    }

    /// A reader of file systems would end in a fault, read without end, or see nothing of it.
    #[test]
    fn a_volume_that_misleads_is_noticed() {
        let (disk, appliance, loader) = (disk_with_uefi(), appliance(), loader());
        let (header, line) = (&disk[HEADER_AT..HEADER_AT + BLOCK_LEN], &b"log=info -- one\0"[..]);
        let files = Files { loader: &*loader, header, command_line: line, kernel: &*appliance };
        let good = system_partition::make(&files).unwrap();
        let entry = good.chunks(32).position(|entry| entry.starts_with(b"BOOTX64 EFI")).unwrap() * 32;
        // Length and cluster of the loader; the boot sector; the FAT's entry of the first folder, which leads to itself; a byte of
        // no file.
        for (at, bytes) in [
            (entry + 28, &[0xff; 4][..]),
            (entry + 26, &[0; 2]),
            (entry + 26, &[0xff; 2]),
            (13, &[0]),
            (13, &[0xff]),
            (14, &[0xff; 10]),
            (BLOCK_LEN + 3, &[2, 0]),
            (good.len() - 1, &[1]),
        ] {
            let mut volume = good.clone();
            volume[at..at + bytes.len()].copy_from_slice(bytes);
            assert!(check_system_partition(&volume, header, line, &appliance, true).is_err(), "{at}");
            let _ = check_system_partition(&volume, header, line, &appliance, false);
        }
    }

    #[test]
    fn it_may_lie_on_a_larger_disk() {
        let mut disk = disk();
        disk.resize(disk.len() + 4096, 0);
        inspect(&disk).unwrap();
    }

    #[test]
    fn it_may_be_laid_out_larger() {
        let layout = Layout { kernel_block_min: 200, blocks_multiple: 2048, ..Layout::RAW };
        for disk in [made(None, layout), made(Some(&loader()), layout)] {
            inspect(&disk).unwrap();
            let (len_bytes, expected) = (disk.len() - 1, disk.len() as u64);
            assert_eq!(inspect(&disk[..len_bytes]), Err(ImageError::Truncated { len_bytes, expected }));
        }
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
            (BLOCK_LEN + 35, "the partition table"),
            (disk().len() - BLOCK_LEN, "the partition table"),
        ] {
            let mut disk = disk();
            disk[place] ^= 1;
            let error = inspect(&disk).unwrap_err().to_string();
            assert!(error.contains(expected), "{place}: {error}");
        }
    }

    /// Tables whose checksums are right, but that are not what is written here.
    #[test]
    fn every_field_of_the_tables_header_counts() {
        let good = disk();
        let copy = good.len() - BLOCK_LEN;
        // Length of the header, both places of headers, usable blocks, disk's GUID, where entries are, their number and length.
        for offset in [12, 24, 32, 40, 48, 56, 72, 80, 84, 85] {
            for header in [BLOCK_LEN, copy] {
                for change in [1, 0x80] {
                    let mut disk = good.clone();
                    disk[header + offset] ^= change;
                    let mut bytes = disk[header..header + 92].to_vec();
                    bytes[16..20].fill(0);
                    disk[header + 16..header + 20].copy_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
                    assert!(inspect(&disk).is_err(), "{offset} at {header}");
                }
            }
        }
        for place in [440, 446, BLOCK_LEN + 100, 34 * BLOCK_LEN - 1] {
            let mut disk = good.clone();
            disk[place] ^= 1;
            assert!(inspect(&disk).is_err(), "{place}");
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
        for disk in [disk(), disk_with_uefi()] {
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
}
