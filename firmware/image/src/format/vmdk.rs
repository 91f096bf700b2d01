//! VMware's format, as `qemu-img` makes it: one sparse file, `monolithicSparse`, with its description in it.
//!
//! The description has an identifier of the content, which the tool draws by lot, and the name of the file that the disk is in,
//! which is this one. Both are set here: the first from the disk's SHA-256.

use super::{MIB_BLOCKS, bytes_at, check_disk_len, qemu_img};
use crate::disk::Layout;
use crate::error::{ImageError, PackError};
use image_header::BLOCK_LEN;
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::path::Path;

/// What the file begins with (VMware's Virtual Disk Format 5.0, hosted sparse extents).
pub(super) const MAGIC: &[u8] = b"KDMV";

/// VMware counts disks in MiB, and their cylinders in nearly eight of them, of which there has to be one. The file is sparse.
pub(super) const LAYOUT: Layout =
    Layout { kernel_block_min: 0, blocks_min: 8 * MIB_BLOCKS, blocks_multiple: MIB_BLOCKS };

/// Offsets of the disk's length, and of where the description is and how long: `u64`, little-endian, in blocks.
const CAPACITY_AT: usize = 12;
const DESCRIPTION_AT: usize = 28;
const DESCRIPTION_LEN_AT: usize = 36;

/// What the name of another image, which this one overlays, stands behind.
const PARENT: &[u8] = b"parentFileNameHint";

/// Makes an image that will lie at `path`.
pub(super) fn pack(disk: &[u8], path: &Path) -> Result<Vec<u8>, PackError> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.filter(|name| !name.contains(['"', '\n', '\r'])).ok_or(PackError::Name)?;
    let options = ["-o", "subformat=monolithicSparse,adapter_type=lsilogic"];
    let mut image = qemu_img::convert(disk, "raw", "vmdk", &options)?;
    let place = description(&image).ok_or(PackError::Description)?;
    let text = str::from_utf8(&image[place.clone()]).map_err(|_| PackError::Description)?;
    let text = describe(text.trim_end_matches('\0'), content_id(disk), name);
    let room = &mut image[place];
    room.get_mut(..text.len()).ok_or(PackError::Name)?.copy_from_slice(text.as_bytes());
    room[text.len()..].fill(0);
    Ok(image)
}

/// Where the description is.
fn description(image: &[u8]) -> Option<Range<usize>> {
    let bytes = |at| {
        let blocks = u64::from_le_bytes(bytes_at(image, at)?);
        usize::try_from(blocks).ok()?.checked_mul(BLOCK_LEN)
    };
    let start = bytes(DESCRIPTION_AT)?;
    let end = start.checked_add(bytes(DESCRIPTION_LEN_AT)?)?;
    (start < end && end <= image.len()).then_some(start..end)
}

/// Sets the identifier and the file's name.
fn describe(text: &str, content_id: u32, name: &str) -> String {
    let line = |line: &str| {
        // RW, blocks, kind, name.
        let extent = line.starts_with("RW ").then(|| line.split_once('"')).flatten();
        match extent {
            Some((before, _)) => format!("{before}\"{name}\"\n"),
            None if line.starts_with("CID=") => format!("CID={content_id:08x}\n"),
            None => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

/// 31 bits of the disk's SHA-256: the highest numbers have meanings of their own.
fn content_id(disk: &[u8]) -> u32 {
    let hash = Sha256::digest(disk);
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) & 0x7fff_ffff
}

/// Takes the disk out.
pub(super) fn unpack(image: &[u8]) -> Result<Vec<u8>, ImageError> {
    let damaged = ImageError::Damaged { part: "its end is missing" };
    let blocks = bytes_at(image, CAPACITY_AT).map(u64::from_le_bytes).ok_or(damaged.clone())?;
    check_disk_len(blocks.saturating_mul(BLOCK_LEN as u64))?;
    let text = &image[description(image).ok_or(damaged)?];
    // A kind of which all is in this file; others name files that would be read.
    let is_whole = ["monolithicSparse", "streamOptimized"].iter().any(|kind| {
        let line = format!("createType=\"{kind}\"");
        text.split(|byte| *byte == b'\n').any(|text| text == line.as_bytes())
    });
    // Of a disk without length, the tool looks for its parts by the description; with a parent, it is an overlay.
    let has_parent = text.windows(PARENT.len()).any(|window| window == PARENT);
    if !is_whole || blocks == 0 || has_parent {
        return Err(ImageError::Foreign { reason: "part of it is in another file" });
    }
    qemu_img::to_raw(image, "vmdk")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Disk DescriptorFile\nversion=1\nCID=1a2b3c4d\nparentCID=ffffffff\n\
        createType=\"monolithicSparse\"\n\nRW 2048 SPARSE \"stdout\"\n\nddb.adapterType = \"lsilogic\"\n";

    #[test]
    fn identifier_and_name_are_set_and_nothing_else() {
        let expected = TEXT.replace("=1a2b3c4d", "=00000abc").replace("stdout", "my disk.vmdk");
        assert_eq!(describe(TEXT, 0xabc, "my disk.vmdk"), expected);
    }

    #[test]
    fn the_identifier_follows_from_the_content() {
        assert_eq!(content_id(b"one"), content_id(b"one"));
        assert_ne!(content_id(b"one"), content_id(b"two"));
    }

    #[test]
    fn names_that_a_description_can_not_hold_are_refused() {
        for name in ["a\"b", "a\nb", "/"] {
            assert_eq!(pack(&[0; 512], Path::new(name)), Err(PackError::Name), "{name}");
        }
    }

    #[test]
    fn hostile_headers_are_refused_before_the_tool_sees_them() {
        let mut image = vec![0; 4 * BLOCK_LEN];
        image[..4].copy_from_slice(MAGIC);
        image[DESCRIPTION_AT] = 1;
        image[DESCRIPTION_LEN_AT] = 2;
        let kind = b"\ncreateType=\"monolithicFlat\"\n";
        image[BLOCK_LEN..][..kind.len()].copy_from_slice(kind);
        let reason = |image: &[u8]| unpack(image).unwrap_err().to_string();
        image[CAPACITY_AT] = 1;
        assert!(reason(&image).contains("part of it is in another file"));
        let whole = b"\ncreateType=\"monolithicSparse\"\n";
        for (capacity, other) in [(0, &b""[..]), (1, b"parentFileNameHint=\"other.vmdk\"\n")] {
            let mut image = image.clone();
            image[CAPACITY_AT] = capacity;
            let text = [whole, other].concat();
            image[BLOCK_LEN..][..text.len()].copy_from_slice(&text);
            assert!(reason(&image).contains("part of it is in another file"), "{capacity}");
        }
        assert!(reason(&image[..BLOCK_LEN]).contains("its end is missing"));
        image[DESCRIPTION_LEN_AT..][..8].fill(0xff);
        assert!(reason(&image).contains("its end is missing"));
        image[CAPACITY_AT + 7] = 1;
        assert!(reason(&image).contains("larger than 2 GiB"));
    }
}
