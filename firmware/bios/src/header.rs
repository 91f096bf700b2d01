//! The header of a disk image: what the loader shall load, from where and to where. One block, all numbers little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `FREEHOLD` |
//! | 8 | 4 | version of this format, 1 |
//! | 12 | 4 | CRC-32 of the second stage |
//! | 16 | 4 | its length in blocks; it begins in the next block |
//! | 20 | 4 | physical address of the kernel's PVH entry |
//! | 24 | 4 | first block of the command line |
//! | 28 | 4 | its length in bytes with its NUL, at most 4096 |
//! | 32 | 4 | its CRC-32 |
//! | 36 | 4 | number of segments, 1 to 19 |
//! | 40 | 4 | first block of the kernel, an ELF file |
//! | 44 | 4 | its length in bytes |
//! | 48 | 32 | its SHA-256 |
//! | 80 | 32 | its name, UTF-8, filled up with NULs |
//! | 112 | 16 | version of the tool that wrote the image, likewise |
//! | 128 | 20 each | segments: first block, physical address, bytes on the disk, bytes in memory, CRC-32 of those on the disk |
//! | 508 | 4 | CRC-32 of all before |
//!
//! CRC-32 is that of IEEE 802.3.

use crate::BLOCK_LEN;

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"FREEHOLD";
/// What the boot sector has room to look at; the checksum is of all.
pub(crate) const MAGIC_START: u32 = u32::from_le_bytes([MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3]]);

/// The version of the format that this loader reads.
pub const VERSION: u32 = 1;

/// Most segments that fit.
pub const SEGMENTS_MAX: usize = (AT_CRC - AT_SEGMENTS) / SEGMENT_LEN;

/// Longest name of a kernel, in bytes.
pub const NAME_LEN_MAX: usize = 32;

/// Longest version of a tool, in bytes.
pub const TOOL_VERSION_LEN_MAX: usize = 16;

pub(crate) const AT_VERSION: usize = 8;
pub(crate) const AT_STAGE_CRC: usize = 12;
pub(crate) const AT_STAGE_BLOCKS: usize = 16;
pub(crate) const AT_ENTRY: usize = 20;
pub(crate) const AT_COMMAND_LINE_BLOCK: usize = 24;
pub(crate) const AT_COMMAND_LINE_LEN: usize = 28;
pub(crate) const AT_COMMAND_LINE_CRC: usize = 32;
pub(crate) const AT_SEGMENT_COUNT: usize = 36;
const AT_KERNEL_BLOCK: usize = 40;
const AT_KERNEL_LEN: usize = 44;
const AT_KERNEL_SHA256: usize = 48;
const AT_NAME: usize = 80;
const AT_TOOL_VERSION: usize = AT_NAME + NAME_LEN_MAX;
pub(crate) const AT_SEGMENTS: usize = AT_TOOL_VERSION + TOOL_VERSION_LEN_MAX;
pub(crate) const SEGMENT_LEN: usize = 20;
pub(crate) const AT_CRC: usize = BLOCK_LEN - 4;

/// A part of the kernel that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its first block on the disk.
    pub block: u32,
    /// Its physical address.
    pub address: u32,
    /// Bytes that come from the disk.
    pub disk_len: u32,
    /// Bytes in memory, as many or more; those that do not come from the disk are 0.
    pub memory_len: u32,
    /// CRC-32 of the bytes on the disk.
    pub crc: u32,
}

/// The header's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// CRC-32 of the second stage.
    pub stage_crc: u32,
    /// Its length in blocks.
    pub stage_blocks: u32,
    /// Physical address of the kernel's PVH entry.
    pub entry: u32,
    /// First block of the command line.
    pub command_line_block: u32,
    /// Its length in bytes, with its NUL.
    pub command_line_len: u32,
    /// Its CRC-32.
    pub command_line_crc: u32,
    /// First block of the kernel's ELF file.
    pub kernel_block: u32,
    /// Its length in bytes.
    pub kernel_len: u32,
    /// Its SHA-256.
    pub kernel_sha256: [u8; 32],
    /// Its name, at most [`NAME_LEN_MAX`] bytes.
    pub name: String,
    /// The version of the tool that wrote the image, at most [`TOOL_VERSION_LEN_MAX`] bytes.
    pub tool_version: String,
    /// What is loaded, at most [`SEGMENTS_MAX`].
    pub segments: Vec<Segment>,
}

/// Why a block is no header. The loader finds the same, and says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Another signature.
    NoHeader,
    /// The checksum is not that of the content, or the content can't be.
    Damaged,
    /// A version that this loader does not read.
    OtherVersion(u32),
}

/// A header that does not fit its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoesNotFit;

impl Header {
    /// The block.
    ///
    /// # Errors
    /// [`DoesNotFit`] for a name or version that is too long, or too many segments.
    pub fn encode(&self) -> Result<[u8; BLOCK_LEN], DoesNotFit> {
        let fits = self.name.len() <= NAME_LEN_MAX
            && self.tool_version.len() <= TOOL_VERSION_LEN_MAX
            && self.segments.len() <= SEGMENTS_MAX;
        if !fits {
            return Err(DoesNotFit);
        }
        let mut block = [0; BLOCK_LEN];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(AT_KERNEL_SHA256, &self.kernel_sha256);
        put(AT_NAME, self.name.as_bytes());
        put(AT_TOOL_VERSION, self.tool_version.as_bytes());
        for (at, value) in [
            (AT_VERSION, VERSION),
            (AT_STAGE_CRC, self.stage_crc),
            (AT_STAGE_BLOCKS, self.stage_blocks),
            (AT_ENTRY, self.entry),
            (AT_COMMAND_LINE_BLOCK, self.command_line_block),
            (AT_COMMAND_LINE_LEN, self.command_line_len),
            (AT_COMMAND_LINE_CRC, self.command_line_crc),
            (AT_SEGMENT_COUNT, self.segments.len() as u32),
            (AT_KERNEL_BLOCK, self.kernel_block),
            (AT_KERNEL_LEN, self.kernel_len),
        ] {
            put(at, &value.to_le_bytes());
        }
        for (index, segment) in self.segments.iter().enumerate() {
            let fields = [segment.block, segment.address, segment.disk_len, segment.memory_len, segment.crc];
            put(AT_SEGMENTS + index * SEGMENT_LEN, &fields.map(u32::to_le_bytes).concat());
        }
        seal(&mut block);
        Ok(block)
    }

    /// Reads a block.
    ///
    /// # Errors
    /// [`HeaderError`] in the order in which the loader checks.
    pub fn decode(block: &[u8; BLOCK_LEN]) -> Result<Self, HeaderError> {
        if u32_at(block, 0) != MAGIC_START {
            return Err(HeaderError::NoHeader);
        }
        if u32_at(block, AT_CRC) != crc32fast::hash(&block[..AT_CRC]) {
            return Err(HeaderError::Damaged);
        }
        let version = u32_at(block, AT_VERSION);
        if version != VERSION {
            return Err(HeaderError::OtherVersion(version));
        }
        let segment_count = u32_at(block, AT_SEGMENT_COUNT) as usize;
        if !(1..=SEGMENTS_MAX).contains(&segment_count) {
            return Err(HeaderError::Damaged);
        }
        let segment = |index| {
            let at = AT_SEGMENTS + index * SEGMENT_LEN;
            Segment {
                block: u32_at(block, at),
                address: u32_at(block, at + 4),
                disk_len: u32_at(block, at + 8),
                memory_len: u32_at(block, at + 12),
                crc: u32_at(block, at + 16),
            }
        };
        let mut kernel_sha256 = [0; 32];
        kernel_sha256.copy_from_slice(&block[AT_KERNEL_SHA256..AT_NAME]);
        Ok(Self {
            stage_crc: u32_at(block, AT_STAGE_CRC),
            stage_blocks: u32_at(block, AT_STAGE_BLOCKS),
            entry: u32_at(block, AT_ENTRY),
            command_line_block: u32_at(block, AT_COMMAND_LINE_BLOCK),
            command_line_len: u32_at(block, AT_COMMAND_LINE_LEN),
            command_line_crc: u32_at(block, AT_COMMAND_LINE_CRC),
            kernel_block: u32_at(block, AT_KERNEL_BLOCK),
            kernel_len: u32_at(block, AT_KERNEL_LEN),
            kernel_sha256,
            name: text(&block[AT_NAME..AT_TOOL_VERSION])?,
            tool_version: text(&block[AT_TOOL_VERSION..AT_SEGMENTS])?,
            segments: (0..segment_count).map(segment).collect(),
        })
    }
}

/// Makes the checksum of a header's block right.
pub fn seal(block: &mut [u8; BLOCK_LEN]) {
    let crc = crc32fast::hash(&block[..AT_CRC]);
    block[AT_CRC..].copy_from_slice(&crc.to_le_bytes());
}

fn u32_at(block: &[u8; BLOCK_LEN], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

fn text(bytes: &[u8]) -> Result<String, HeaderError> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8(text.to_vec()).map_err(|_| HeaderError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let segment =
            |block| Segment { block, address: 0x20_0000 + block, disk_len: 7, memory_len: 9, crc: 11 };
        Header {
            stage_crc: 1,
            stage_blocks: 2,
            entry: 3,
            command_line_block: 4,
            command_line_len: 5,
            command_line_crc: 6,
            kernel_block: 7,
            kernel_len: 8,
            kernel_sha256: [9; 32],
            name: "n".repeat(NAME_LEN_MAX),
            tool_version: "0.1.0".to_owned(),
            segments: (0..SEGMENTS_MAX as u32).map(segment).collect(),
        }
    }

    #[test]
    fn a_full_header_is_read_back() {
        assert_eq!(Header::decode(&header().encode().unwrap()), Ok(header()));
        assert_eq!(SEGMENTS_MAX, 19);
    }

    #[test]
    fn what_has_no_room_is_not_written() {
        let mut too_many = header();
        too_many.segments.push(too_many.segments[0]);
        let long_name = Header { name: "n".repeat(NAME_LEN_MAX + 1), ..header() };
        let long_version = Header { tool_version: "1".repeat(TOOL_VERSION_LEN_MAX + 1), ..header() };
        for header in [too_many, long_name, long_version] {
            assert_eq!(header.encode(), Err(DoesNotFit));
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let block = header().encode().unwrap();
        for at in 0..BLOCK_LEN {
            let mut spoilt = block;
            spoilt[at] ^= 0x10;
            let error = if at < 4 { HeaderError::NoHeader } else { HeaderError::Damaged };
            assert_eq!(Header::decode(&spoilt), Err(error), "{at}");
        }
        let mut other = block;
        other[AT_VERSION] = 2;
        seal(&mut other);
        assert_eq!(Header::decode(&other), Err(HeaderError::OtherVersion(2)));
        for count in [0, SEGMENTS_MAX as u8 + 1] {
            let mut other = block;
            other[AT_SEGMENT_COUNT] = count;
            seal(&mut other);
            assert_eq!(Header::decode(&other), Err(HeaderError::Damaged), "{count} segments");
        }
    }
}
