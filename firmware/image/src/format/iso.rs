//! A CD that is a disk, too: the raw disk, with an ISO 9660 file system (ECMA-119) and a boot catalog (El Torito 1.0, UEFI
//! specification 13.3.2) in the gap before its kernel.
//!
//! ```text
//! sector 0     of 2048 bytes: the disk's boot sector, partition table, header, second stage, command line;
//!              ISO 9660 leaves 16 sectors to whoever boots from it
//! sector 16    volume descriptors: primary, boot record, end
//! sector 19    boot catalog
//! sector 20    the boot sector for CDs
//! sector 21    path tables, little-endian and big-endian
//! sector 23    root folder: KERNEL.ELF
//! sector 24    the kernel, and the rest of the disk
//! ```
//!
//! A BIOS starts the boot sector without emulation, as a disk that El Torito emulates has no INT 13h extensions under SeaBIOS.
//! UEFI is given the disk's EFI system partition, if it has one.

use super::bytes_at;
use crate::disk::Layout;
use crate::error::{ImageError, PackError};
use crate::partition_table::efi_partition;
use bios_loader::{BOOT_CODE_LEN, CD_SECTOR_BLOCKS};
use image_header::{BLOCK_LEN, HEADER_BLOCK, Header};
use std::ops::Range;

const SECTOR_LEN: usize = BLOCK_LEN * CD_SECTOR_BLOCKS as usize;

/// Sectors of the parts.
const PRIMARY: usize = 16;
const BOOT_RECORD: usize = 17;
const END: usize = 18;
const CATALOG: usize = 19;
const BOOT_SECTOR: usize = 20;
const PATH_TABLE_LITTLE: usize = 21;
const PATH_TABLE_BIG: usize = 22;
const ROOT: usize = 23;
const KERNEL_MIN: usize = 24;

/// Where they are on the disk.
const PLACE: Range<usize> = PRIMARY * SECTOR_LEN..KERNEL_MIN * SECTOR_LEN;

pub(super) const LAYOUT: Layout = Layout {
    kernel_block_min: KERNEL_MIN as u32 * CD_SECTOR_BLOCKS,
    blocks_min: 0,
    blocks_multiple: CD_SECTOR_BLOCKS as u64,
};

/// Offset of the file system's length in sectors in the primary descriptor.
const VOLUME_SECTORS_AT: usize = 80;

/// The kernel's name: letters, digits, a dot, and a version, as every reader of ISO 9660 takes them.
const KERNEL_NAME: &[u8] = b"KERNEL.ELF;1";

/// The names of a folder itself, and of the one that it is in.
const SELF: &[u8] = &[0];
const PARENT: &[u8] = &[1];

/// When everything was made, so that the same disk gives the same bytes: as the year 2000 began, UTC.
const RECORD_TIME: [u8; 7] = [100, 1, 1, 0, 0, 0, 0];
const VOLUME_TIME: &[u8; 17] = b"2000010100000000\0";

/// Whether a file has the mark of a volume descriptor.
pub(super) fn is_iso(image: &[u8]) -> bool {
    image.get(PRIMARY * SECTOR_LEN + 1..).is_some_and(|rest| rest.starts_with(b"CD001"))
}

/// Makes an image.
pub(super) fn pack(mut disk: Vec<u8>) -> Result<Vec<u8>, PackError> {
    let header = header(&disk).ok_or(PackError::Header)?;
    // The loader reads whole sectors from the start of each part.
    if let Some(segment) = header.segments.iter().find(|it| !it.block.is_multiple_of(CD_SECTOR_BLOCKS)) {
        return Err(PackError::SegmentInSector { address: segment.address });
    }
    let parts = parts(&disk, &header);
    disk[PLACE].copy_from_slice(&parts);
    Ok(disk)
}

/// Takes the disk out, which is all of it, after checking what is not the disk's. More may follow, as on a stick.
pub(super) fn unpack(image: Vec<u8>) -> Result<Vec<u8>, ImageError> {
    let sectors = bytes_at(&image, PRIMARY * SECTOR_LEN + VOLUME_SECTORS_AT).map_or(0, u32::from_le_bytes);
    let expected = u64::from(sectors) * SECTOR_LEN as u64;
    let Some(disk) = usize::try_from(expected).ok().and_then(|len| image.get(..len)) else {
        return Err(ImageError::Truncated { len_bytes: image.len(), expected });
    };
    // A header that can't be read is told better by who looks at all of the disk.
    if let Some(header) = header(disk).filter(|it| it.tool_version.as_str() == env!("CARGO_PKG_VERSION"))
        && disk.get(PLACE) != Some(&*parts(disk, &header))
    {
        return Err(ImageError::Damaged { part: "its ISO 9660 file system or boot catalog is another" });
    }
    Ok(image)
}

fn header(disk: &[u8]) -> Option<Header> {
    let block = disk.get(HEADER_BLOCK as usize * BLOCK_LEN..)?.first_chunk()?;
    Header::decode(block).ok()
}

/// Everything from the first volume descriptor up to the kernel.
fn parts(disk: &[u8], header: &Header) -> Vec<u8> {
    let mut parts = vec![0; PLACE.len()];
    let mut put = |sector: usize, at: usize, bytes: &[u8]| {
        let at = (sector - PRIMARY) * SECTOR_LEN + at;
        parts[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(PRIMARY, 0, &primary_descriptor(disk.len()));
    put(BOOT_RECORD, 0, b"\0CD001\x01EL TORITO SPECIFICATION");
    put(BOOT_RECORD, 71, &(CATALOG as u32).to_le_bytes());
    put(END, 0, b"\xffCD001\x01");
    // El Torito counts sectors: a partition that begins within one can't be named.
    let efi = efi_partition(disk).filter(|it| it.start.is_multiple_of(CD_SECTOR_BLOCKS.into()));
    put(CATALOG, 0, &catalog(efi));
    put(BOOT_SECTOR, 0, &bios_loader::cd_boot_code());
    put(BOOT_SECTOR, BLOCK_LEN - 2, &[0x55, 0xaa]);
    put(PATH_TABLE_LITTLE, 0, &path_table((ROOT as u32).to_le_bytes(), 1u16.to_le_bytes()));
    put(PATH_TABLE_BIG, 0, &path_table((ROOT as u32).to_be_bytes(), 1u16.to_be_bytes()));
    let kernel = header.kernel_block / CD_SECTOR_BLOCKS;
    let root = [root_record(SELF), root_record(PARENT), record(KERNEL_NAME, kernel, header.kernel_len, 0)];
    put(ROOT, 0, &root.concat());
    parts
}

/// A number in both byte orders (ECMA-119 7.2.3 and 7.3.3).
fn both16(value: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (value.to_le_bytes(), value.to_be_bytes());
    [a, b, c, d]
}

fn both32(value: u32) -> [u8; 8] {
    let ([a, b, c, d], [e, f, g, h]) = (value.to_le_bytes(), value.to_be_bytes());
    [a, b, c, d, e, f, g, h]
}

/// ECMA-119 8.4. What may be empty is blanks, or zeros where it is a place.
fn primary_descriptor(disk_len: usize) -> [u8; SECTOR_LEN] {
    const TEXTS: Range<usize> = 190..813;
    let mut sector = [0; SECTOR_LEN];
    let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x01CD001\x01");
    put(8, &[b' '; 64]);
    put(40, b"FREEHOLD");
    put(VOLUME_SECTORS_AT, &both32((disk_len / SECTOR_LEN) as u32));
    put(120, &both16(1)); // one volume, the first
    put(124, &both16(1));
    put(128, &both16(SECTOR_LEN as u16));
    put(132, &both32(path_table([0; 4], [0; 2]).len() as u32));
    put(140, &(PATH_TABLE_LITTLE as u32).to_le_bytes());
    put(148, &(PATH_TABLE_BIG as u32).to_be_bytes());
    put(156, &root_record(SELF));
    put(TEXTS.start, &[b' '; TEXTS.end - TEXTS.start]);
    put(813, VOLUME_TIME); // made
    put(830, VOLUME_TIME); // changed
    put(847, b"0000000000000000\0"); // never expires
    put(864, b"0000000000000000\0"); // to be used at once
    put(881, &[1]);
    sector
}

/// The one entry, the root folder's (ECMA-119 9.4).
fn path_table(root: [u8; 4], parent: [u8; 2]) -> [u8; 10] {
    let ([a, b, c, d], [e, f]) = (root, parent);
    [1, 0, a, b, c, d, e, f, 0, 0]
}

fn root_record(name: &[u8]) -> Vec<u8> {
    const FOLDER: u8 = 2;
    record(name, ROOT as u32, SECTOR_LEN as u32, FOLDER)
}

/// A folder's record of a file (ECMA-119 9.1).
fn record(name: &[u8], sector: u32, len_bytes: u32, flags: u8) -> Vec<u8> {
    let len = (33 + name.len()).next_multiple_of(2);
    let mut record = vec![len as u8, 0];
    record.extend_from_slice(&both32(sector));
    record.extend_from_slice(&both32(len_bytes));
    record.extend_from_slice(&RECORD_TIME);
    record.extend_from_slice(&[flags, 0, 0]);
    record.extend_from_slice(&both16(1));
    record.push(name.len() as u8);
    record.extend_from_slice(name);
    record.resize(len, 0);
    record
}

/// The boot catalog: how a BIOS starts the CD, and, given where it is on the disk in blocks, how UEFI does.
fn catalog(efi: Option<Range<u64>>) -> Vec<u8> {
    const ENTRY_LEN: usize = 32;
    const EFI: u8 = 0xef;
    const LAST_HEADER: u8 = 0x91;
    let mut catalog = vec![0; 2 * ENTRY_LEN];
    catalog[0] = 1;
    catalog[4..12].copy_from_slice(b"Freehold");
    catalog[30..32].copy_from_slice(&[0x55, 0xaa]);
    // All 16-bit words come to 0.
    let sum = catalog[..ENTRY_LEN]
        .chunks_exact(2)
        .fold(0u16, |sum, word| sum.wrapping_add(u16::from_le_bytes([word[0], word[1]])));
    catalog[28..30].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    // A whole sector goes to 0x7c00, of which the boot sector is the first quarter.
    catalog[ENTRY_LEN..].copy_from_slice(&boot_entry(CD_SECTOR_BLOCKS.into(), BOOT_SECTOR as u64));
    if let Some(efi) = efi {
        let mut header = [0; ENTRY_LEN];
        header[..4].copy_from_slice(&[LAST_HEADER, EFI, 1, 0]);
        catalog.extend_from_slice(&header);
        let sector = efi.start / u64::from(CD_SECTOR_BLOCKS);
        catalog.extend_from_slice(&boot_entry(efi.end - efi.start, sector));
    }
    catalog
}

/// An entry that is bootable, without emulation. A length that has no room is 0, which UEFI takes for all up to the end.
fn boot_entry(blocks: u64, sector: u64) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[0] = 0x88;
    entry[6..8].copy_from_slice(&u16::try_from(blocks).unwrap_or(0).to_le_bytes());
    entry[8..12].copy_from_slice(&(sector as u32).to_le_bytes());
    entry
}

// The boot sector for CDs fills less than a block, and everything before the volume descriptors is the disk's.
const _: () = assert!(BOOT_CODE_LEN < BLOCK_LEN && PLACE.start == 64 * BLOCK_LEN);

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::tests::disk;
    use super::*;
    use crate::disk::blocks;
    use crate::test_appliance::appliance;
    use guest_interface::layout::COMMAND_LINE_LEN_MAX;

    fn image() -> Vec<u8> {
        pack(disk(Format::Iso)).unwrap()
    }

    /// Where a reader of ISO 9660 looks, one step after the other.
    #[test]
    fn the_kernel_is_found_from_the_volume_descriptor() {
        let image = image();
        let number = |at: usize| u32::from_le_bytes(bytes_at(&image, at).unwrap()) as usize;
        let descriptor = 16 * 2048;
        assert_eq!(&image[descriptor..][..7], b"\x01CD001\x01");
        assert_eq!(number(descriptor + 80) * 2048, image.len());
        let root = number(descriptor + 156 + 2) * 2048;
        let mut record = root;
        let mut names = Vec::new();
        while image[record] != 0 {
            let name = &image[record + 33..][..image[record + 32].into()];
            names.push(name.to_vec());
            if name == KERNEL_NAME {
                let file = &image[number(record + 2) * 2048..][..number(record + 10)];
                assert_eq!(file, appliance());
            }
            record += usize::from(image[record]);
        }
        assert_eq!(names, [SELF, PARENT, KERNEL_NAME]);
    }

    /// What a BIOS does.
    #[test]
    fn the_boot_sector_is_found_from_the_boot_record() {
        let image = image();
        let record = 17 * 2048;
        assert_eq!(&image[record..][..30], b"\0CD001\x01EL TORITO SPECIFICATION");
        let catalog = u32::from_le_bytes(bytes_at(&image, record + 0x47).unwrap()) as usize * 2048;
        let words = image[catalog..][..32].chunks(2).map(|word| u32::from(word[0]) | u32::from(word[1]) << 8);
        assert_eq!(words.sum::<u32>() & 0xffff, 0);
        assert_eq!(&image[catalog + 32..][..8], [0x88, 0, 0, 0, 0, 0, 4, 0]);
        let boot = u32::from_le_bytes(bytes_at(&image, catalog + 40).unwrap()) as usize * 2048;
        assert_eq!(image[boot..][..BOOT_CODE_LEN], bios_loader::cd_boot_code());
        assert_eq!(&image[boot + 510..][..2], [0x55, 0xaa]);
        assert_eq!(image[catalog + 64..][..64], [0; 64], "no EFI system partition");
    }

    /// The longest command line ends before the volume descriptors, and each part that is read begins with a sector.
    #[test]
    fn the_disk_leaves_room() {
        let header = header(&disk(Format::Iso)).unwrap();
        assert!(header.command_line_block + blocks(COMMAND_LINE_LEN_MAX) <= 64);
        assert!(header.command_line_block.is_multiple_of(4) && header.kernel_block >= 96);
        assert!(disk(Format::Iso)[PLACE].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn an_efi_system_partition_is_for_uefi() {
        let mut disk = disk(Format::Iso);
        // The type's GUID as it lies on a disk, into the one entry; which changes the checksums of entries and header.
        let efi =
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
        disk[1024..1040].copy_from_slice(&efi);
        let entries = crc32fast::hash(&disk[1024..1024 + 128 * 128]);
        disk[512 + 88..][..4].copy_from_slice(&entries.to_le_bytes());
        disk[512 + 16..][..4].fill(0);
        let sum = crc32fast::hash(&disk[512..][..92]);
        disk[512 + 16..][..4].copy_from_slice(&sum.to_le_bytes());
        let header = header(&disk).unwrap();
        let end = header.kernel_block + blocks(header.kernel_len as usize);
        let image = pack(disk).unwrap();
        let entry = &image[CATALOG * 2048 + 64..];
        assert_eq!(entry[..4], [0x91, 0xef, 1, 0]);
        assert_eq!(entry[32..40], [&[0x88, 0, 0, 0, 0, 0][..], &((end - 40) as u16).to_le_bytes()].concat());
        assert_eq!(entry[40..44], 10u32.to_le_bytes());
    }

    /// The length of an entry, in a table whose checksum is right.
    #[test]
    fn a_partition_table_of_another_kind_is_refused() {
        for len_bytes in [0u32, 64, 256, u32::MAX] {
            let mut image = image();
            image[512 + 84..][..4].copy_from_slice(&len_bytes.to_le_bytes());
            image[512 + 16..][..4].fill(0);
            let sum = crc32fast::hash(&image[512..][..92]);
            image[512 + 16..][..4].copy_from_slice(&sum.to_le_bytes());
            let inspected = unpack(image).and_then(|disk| crate::inspect::inspect(&disk));
            assert!(inspected.is_err(), "{len_bytes}");
        }
    }

    #[test]
    fn a_segment_within_a_sector_is_refused() {
        let mut disk = disk(Format::Iso);
        let mut header = header(&disk).unwrap();
        header.segments[0].block += 1;
        disk[40 * BLOCK_LEN..41 * BLOCK_LEN].copy_from_slice(&header.encode());
        assert_eq!(pack(disk), Err(PackError::SegmentInSector { address: 0x20_0000 }));
    }

    #[test]
    fn it_may_lie_on_a_larger_disk() {
        let mut image = image();
        image.resize(image.len() + 4096, 0);
        unpack(image).unwrap();
    }

    #[test]
    fn damage_is_noticed() {
        for at in
            [16 * 2048 + 81, 16 * 2048 + 130, 19 * 2048 + 41, 20 * 2048 + 7, 23 * 2048 + 2, 24 * 2048 - 1]
        {
            let mut image = image();
            image[at] ^= 1;
            let error = unpack(image).unwrap_err().to_string();
            let is_length = at == 16 * 2048 + 81;
            let expected = if is_length { "truncated" } else { "ISO 9660 file system or boot catalog" };
            assert!(error.contains(expected), "{at}: {error}");
        }
    }
}
