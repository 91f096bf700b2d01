//! Fixed VHD, for Hyper-V and Azure: the disk, and behind it a footer of one block (Microsoft's Virtual Hard Disk Image Format
//! Specification, 1.0). Identifier and time, which others take from chance and clock, follow from the disk.

use super::{MIB_BLOCKS, bytes_at};
use crate::disk::Layout;
use crate::error::ImageError;
use image_header::BLOCK_LEN;
use sha2::{Digest, Sha256};

const COOKIE: &[u8; 8] = b"conectix";

/// Azure takes whole MiB, and not less than 20 of them.
pub(super) const LAYOUT: Layout =
    Layout { kernel_block_min: 0, blocks_min: 20 * MIB_BLOCKS, blocks_multiple: MIB_BLOCKS };

/// Offsets of the fields that are read, too. All numbers are big-endian.
const CURRENT_SIZE_AT: usize = 48;
const KIND_AT: usize = 60;
const CHECKSUM_AT: usize = 64;

const KIND_FIXED: u32 = 2;

/// Makes an image.
pub(super) fn pack(mut disk: Vec<u8>) -> Vec<u8> {
    let footer = footer(&disk);
    disk.extend_from_slice(&footer);
    disk
}

fn footer(disk: &[u8]) -> [u8; BLOCK_LEN] {
    let len = (disk.len() as u64).to_be_bytes();
    let mut footer = [0; BLOCK_LEN];
    let mut put = |at: usize, bytes: &[u8]| footer[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, COOKIE);
    put(8, &2u32.to_be_bytes()); // features: none, a bit that is always set
    put(12, &0x1_0000u32.to_be_bytes());
    put(16, &u64::MAX.to_be_bytes()); // no dynamic header
    // The time, seconds since the year 2000 began, stays 0. QEMU and others take the length below, and not what the geometry
    // comes to, for the disk's, if the program that made it is Windows.
    put(28, b"win \0\x0a\0\0Wi2k");
    put(40, &len);
    put(CURRENT_SIZE_AT, &len);
    put(56, &geometry((disk.len() / BLOCK_LEN) as u64));
    put(KIND_AT, &KIND_FIXED.to_be_bytes());
    put(68, &Sha256::digest(disk)[..16]);
    let checksum = checksum(&footer);
    footer[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_be_bytes());
    footer
}

/// The complement of the sum of all bytes but the checksum's own.
fn checksum(footer: &[u8; BLOCK_LEN]) -> u32 {
    let own = CHECKSUM_AT..CHECKSUM_AT + 4;
    let others = footer.iter().enumerate().filter(|(at, _)| !own.contains(at));
    !others.map(|(_, byte)| u32::from(*byte)).sum::<u32>()
}

/// Cylinders (16 bits), heads, and sectors a track, by the specification's appendix.
fn geometry(blocks: u64) -> [u8; 4] {
    let blocks = blocks.min(65535 * 16 * 255);
    let (cylinders, heads, sectors) = if blocks >= 65535 * 16 * 63 {
        (blocks / 255 / 16, 16, 255)
    } else {
        let tracks = blocks / 17;
        let heads = tracks.div_ceil(1024).max(4);
        if tracks < heads * 1024 && heads <= 16 {
            (tracks / heads, heads, 17)
        } else if blocks / 31 < 16 * 1024 {
            (blocks / 31 / 16, 16, 31)
        } else {
            (blocks / 63 / 16, 16, 63)
        }
    };
    let cylinders = (cylinders as u16).to_be_bytes();
    [cylinders[0], cylinders[1], heads as u8, sectors]
}

/// Whether a file has a footer, or, as VHDs of other kinds, its copy at the start.
pub(super) fn is_vhd(image: &[u8]) -> bool {
    image.starts_with(COOKIE) || image.last_chunk::<BLOCK_LEN>().is_some_and(|it| it.starts_with(COOKIE))
}

/// Takes the disk out.
pub(super) fn unpack(mut image: Vec<u8>) -> Result<Vec<u8>, ImageError> {
    let foreign = ImageError::Foreign { reason: "it is a VHD that is not fixed" };
    let Some(footer) = image.last_chunk::<BLOCK_LEN>().filter(|it| it.starts_with(COOKIE)) else {
        return Err(foreign);
    };
    if bytes_at(footer, CHECKSUM_AT).map(u32::from_be_bytes) != Some(checksum(footer)) {
        return Err(ImageError::Damaged { part: "the checksum of the VHD's footer is another" });
    }
    if bytes_at(footer, KIND_AT).map(u32::from_be_bytes) != Some(KIND_FIXED) {
        return Err(foreign);
    }
    let disk_len = image.len() - BLOCK_LEN;
    if bytes_at(footer, CURRENT_SIZE_AT).map(u64::from_be_bytes) != Some(disk_len as u64) {
        return Err(ImageError::Damaged { part: "the VHD's footer gives the disk another length" });
    }
    image.truncate(disk_len);
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::tests::disk;
    use super::*;

    #[test]
    fn it_is_what_azure_takes() {
        let image = pack(disk(Format::Vhd));
        assert_eq!(image.len(), (20 << 20) + 512);
        let footer = &image[20 << 20..];
        assert_eq!(&footer[..16], b"conectix\0\0\0\x02\0\x01\0\0");
        assert_eq!(&footer[24..28], [0; 4], "the time");
        assert_eq!(&footer[48..56], (20u64 << 20).to_be_bytes());
        assert_eq!(&footer[60..64], [0, 0, 0, 2]);
        // The sum of all bytes, with the complement of the checksum for the checksum's.
        let own: u32 = footer[64..68].iter().map(|byte| u32::from(*byte)).sum();
        let sum = footer.iter().map(|byte| u32::from(*byte)).sum::<u32>() - own;
        assert_eq!(footer[64..68], (!sum).to_be_bytes());
    }

    /// qemu-img has one cylinder more, as it rounds up.
    #[test]
    fn geometries_are_those_of_the_specification() {
        let chs = |mib: u64| {
            let [high, low, heads, sectors] = geometry(mib * MIB_BLOCKS);
            (u16::from_be_bytes([high, low]), heads, sectors)
        };
        assert_eq!(chs(20), (602, 4, 17));
        assert_eq!(chs(100), (1003, 12, 17));
        assert_eq!(chs(200), (825, 16, 31));
        assert_eq!(chs(1000), (2031, 16, 63));
        assert_eq!(chs(64 << 10), (32896, 16, 255));
        assert_eq!(chs(4 << 20), (65535, 16, 255));
    }

    #[test]
    fn what_is_wrong_with_a_footer_is_named() {
        let image = pack(disk(Format::Vhd));
        let footer_at = image.len() - BLOCK_LEN;
        let spoilt = |at: usize, byte: u8, is_sealed: bool| {
            let mut image = image.clone();
            image[footer_at + at] = byte;
            let footer = image.last_chunk_mut::<BLOCK_LEN>().unwrap();
            let sum = if is_sealed { checksum(footer) } else { 0 };
            if is_sealed {
                footer[CHECKSUM_AT..][..4].copy_from_slice(&sum.to_be_bytes());
            }
            unpack(image).unwrap_err().to_string()
        };
        assert!(spoilt(100, 1, false).contains("the checksum of the VHD's footer"));
        assert!(spoilt(KIND_AT + 3, 3, true).contains("not fixed"));
        assert!(spoilt(CURRENT_SIZE_AT + 7, 1, true).contains("another length"));
        assert!(is_vhd(b"conectix and more"));
        assert!(unpack(b"conectix and more".to_vec()).unwrap_err().to_string().contains("not fixed"));
    }
}
