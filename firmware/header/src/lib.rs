//! The header of a disk image: what a loader shall load, from where and to where. One block, all numbers little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `FREEHOLD` |
//! | 8 | 4 | version of this format, 1 |
//! | 12 | 4 | CRC-32 of the BIOS loader's second stage |
//! | 16 | 4 | its length in blocks; it begins in the next block |
//! | 20 | 4 | physical address of the kernel's PVH entry |
//! | 24 | 4 | first block of the command line |
//! | 28 | 4 | its length in bytes with its NUL, 1 to 4096 |
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
//!
//! The crate needs neither an allocator nor an operating system: loaders read the header as the tool that writes it does.
#![no_std]

use arrayvec::{ArrayString, ArrayVec};
use guest_interface::layout::COMMAND_LINE_LEN_MAX;

/// Bytes of a block, on the disk and in the calls of a BIOS.
pub const BLOCK_LEN: usize = 512;

/// The block that the header lies in; the BIOS loader's second stage follows it. The first behind a GUID partition table of 128
/// entries that is at a multiple of 4 KiB.
pub const HEADER_BLOCK: u32 = 40;

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"FREEHOLD";
/// What a boot sector has room to look at; the checksum is of all.
pub const MAGIC_START: u32 = u32::from_le_bytes([MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3]]);

/// The version of the format.
pub const VERSION: u32 = 1;

/// Most segments that fit.
pub const SEGMENTS_MAX: usize = (offset::CRC - offset::SEGMENTS) / SEGMENT_LEN;

/// Longest name of a kernel, in bytes.
pub const NAME_LEN_MAX: usize = 32;

/// Longest version of a tool, in bytes.
pub const TOOL_VERSION_LEN_MAX: usize = 16;

/// Where the fields are, in bytes from the start of the block: for loaders in assembly.
pub mod offset {
    use super::{BLOCK_LEN, NAME_LEN_MAX, TOOL_VERSION_LEN_MAX};

    /// Version of the format.
    pub const VERSION: usize = 8;
    /// CRC-32 of the BIOS loader's second stage.
    pub const STAGE_CRC: usize = 12;
    /// Its length in blocks.
    pub const STAGE_BLOCKS: usize = 16;
    /// PVH entry.
    pub const ENTRY: usize = 20;
    /// First block of the command line.
    pub const COMMAND_LINE_BLOCK: usize = 24;
    /// Its length in bytes.
    pub const COMMAND_LINE_LEN: usize = 28;
    /// Its CRC-32.
    pub const COMMAND_LINE_CRC: usize = 32;
    /// Number of segments.
    pub const SEGMENT_COUNT: usize = 36;
    /// First block of the kernel.
    pub const KERNEL_BLOCK: usize = 40;
    /// Its length in bytes.
    pub const KERNEL_LEN: usize = 44;
    /// Its SHA-256.
    pub const KERNEL_SHA256: usize = 48;
    /// Its name.
    pub const NAME: usize = 80;
    /// Version of the tool.
    pub const TOOL_VERSION: usize = NAME + NAME_LEN_MAX;
    /// The segments.
    pub const SEGMENTS: usize = TOOL_VERSION + TOOL_VERSION_LEN_MAX;
    /// CRC-32 of all before.
    pub const CRC: usize = BLOCK_LEN - 4;
}

/// Bytes of a segment.
pub const SEGMENT_LEN: usize = 20;

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
    /// Its name.
    pub name: ArrayString<NAME_LEN_MAX>,
    /// The version of the tool that wrote the image.
    pub tool_version: ArrayString<TOOL_VERSION_LEN_MAX>,
    /// What is loaded.
    pub segments: ArrayVec<Segment, SEGMENTS_MAX>,
}

/// Why a block is no header. A loader finds the same, and says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Another signature.
    NoHeader,
    /// The checksum is not that of the content, or the content can't be.
    Damaged,
    /// A version that this loader does not read.
    OtherVersion(u32),
}

impl Header {
    /// The block.
    #[must_use]
    pub fn encode(&self) -> [u8; BLOCK_LEN] {
        let mut block = [0; BLOCK_LEN];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(offset::KERNEL_SHA256, &self.kernel_sha256);
        put(offset::NAME, self.name.as_bytes());
        put(offset::TOOL_VERSION, self.tool_version.as_bytes());
        for (at, value) in [
            (offset::VERSION, VERSION),
            (offset::STAGE_CRC, self.stage_crc),
            (offset::STAGE_BLOCKS, self.stage_blocks),
            (offset::ENTRY, self.entry),
            (offset::COMMAND_LINE_BLOCK, self.command_line_block),
            (offset::COMMAND_LINE_LEN, self.command_line_len),
            (offset::COMMAND_LINE_CRC, self.command_line_crc),
            (offset::SEGMENT_COUNT, self.segments.len() as u32),
            (offset::KERNEL_BLOCK, self.kernel_block),
            (offset::KERNEL_LEN, self.kernel_len),
        ] {
            put(at, &value.to_le_bytes());
        }
        for (index, segment) in self.segments.iter().enumerate() {
            let fields = [segment.block, segment.address, segment.disk_len, segment.memory_len, segment.crc];
            put(offset::SEGMENTS + index * SEGMENT_LEN, fields.map(u32::to_le_bytes).as_flattened());
        }
        seal(&mut block);
        block
    }

    /// Reads a block.
    ///
    /// # Errors
    /// [`HeaderError`] in the order in which the BIOS loader checks.
    pub fn decode(block: &[u8; BLOCK_LEN]) -> Result<Self, HeaderError> {
        if u32_at(block, 0) != MAGIC_START {
            return Err(HeaderError::NoHeader);
        }
        if u32_at(block, offset::CRC) != crc32fast::hash(&block[..offset::CRC]) {
            return Err(HeaderError::Damaged);
        }
        let version = u32_at(block, offset::VERSION);
        if version != VERSION {
            return Err(HeaderError::OtherVersion(version));
        }
        let segment_count = u32_at(block, offset::SEGMENT_COUNT) as usize;
        if !(1..=SEGMENTS_MAX).contains(&segment_count) {
            return Err(HeaderError::Damaged);
        }
        let segment = |index| {
            let at = offset::SEGMENTS + index * SEGMENT_LEN;
            Segment {
                block: u32_at(block, at),
                address: u32_at(block, at + 4),
                disk_len: u32_at(block, at + 8),
                memory_len: u32_at(block, at + 12),
                crc: u32_at(block, at + 16),
            }
        };
        let mut kernel_sha256 = [0; 32];
        kernel_sha256.copy_from_slice(&block[offset::KERNEL_SHA256..offset::NAME]);
        Ok(Self {
            stage_crc: u32_at(block, offset::STAGE_CRC),
            stage_blocks: u32_at(block, offset::STAGE_BLOCKS),
            entry: u32_at(block, offset::ENTRY),
            command_line_block: u32_at(block, offset::COMMAND_LINE_BLOCK),
            command_line_len: u32_at(block, offset::COMMAND_LINE_LEN),
            command_line_crc: u32_at(block, offset::COMMAND_LINE_CRC),
            kernel_block: u32_at(block, offset::KERNEL_BLOCK),
            kernel_len: u32_at(block, offset::KERNEL_LEN),
            kernel_sha256,
            name: text(&block[offset::NAME..offset::TOOL_VERSION])?,
            tool_version: text(&block[offset::TOOL_VERSION..offset::SEGMENTS])?,
            segments: (0..segment_count).map(segment).collect(),
        })
    }

    /// Whether a loader can do what this says: the command line fits, each segment's bytes are in the kernel's file and fit into
    /// its memory, and one of them holds the entry. Where in memory segments may be, loaders know.
    ///
    /// # Errors
    /// [`HeaderError::Damaged`], as by the BIOS loader.
    pub fn check(&self) -> Result<(), HeaderError> {
        let fits = |it: &Segment| {
            let end = self.file_offset(it).saturating_add(it.disk_len.into());
            it.block >= self.kernel_block && end <= self.kernel_len.into() && it.disk_len <= it.memory_len
        };
        let holds_entry =
            |it: &Segment| self.entry.checked_sub(it.address).is_some_and(|offset| offset < it.disk_len);
        // Without bytes on the disk, it may say any block.
        let fit = self.segments.iter().all(|it| it.disk_len == 0 || fits(it));
        let has_line = (1..=COMMAND_LINE_LEN_MAX).contains(&(self.command_line_len as usize));
        if !has_line || !fit || !self.segments.iter().any(holds_entry) {
            return Err(HeaderError::Damaged);
        }
        Ok(())
    }

    /// Where a segment begins in the kernel's file, in bytes.
    #[must_use]
    pub fn file_offset(&self, segment: &Segment) -> u64 {
        u64::from(segment.block.saturating_sub(self.kernel_block)) * BLOCK_LEN as u64
    }
}

/// Makes the checksum of a header's block right.
pub fn seal(block: &mut [u8; BLOCK_LEN]) {
    let crc = crc32fast::hash(&block[..offset::CRC]);
    block[offset::CRC..].copy_from_slice(&crc.to_le_bytes());
}

fn u32_at(block: &[u8; BLOCK_LEN], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

fn text<const LEN: usize>(bytes: &[u8]) -> Result<ArrayString<LEN>, HeaderError> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = str::from_utf8(text).map_err(|_| HeaderError::Damaged)?;
    ArrayString::from(text).map_err(|_| HeaderError::Damaged)
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
            name: ArrayString::from("a name with exactly thirty-two b").unwrap(),
            tool_version: ArrayString::from("0.1.0").unwrap(),
            segments: (0..SEGMENTS_MAX as u32).map(segment).collect(),
        }
    }

    #[test]
    fn a_full_header_is_read_back() {
        assert_eq!(Header::decode(&header().encode()), Ok(header()));
        assert_eq!(SEGMENTS_MAX, 19);
    }

    #[test]
    fn what_cannot_be_is_damaged() {
        let good = || Header {
            entry: 0x20_0046,
            kernel_block: 8,
            kernel_len: 8 * BLOCK_LEN as u32,
            segments: [
                Segment { block: 9, address: 0x20_0040, disk_len: 7, memory_len: 9, crc: 0 },
                Segment { block: 15, address: 0x30_0000, disk_len: 512, memory_len: 512, crc: 0 },
                Segment { block: 0, address: 0x40_0000, disk_len: 0, memory_len: 1, crc: 0 },
            ]
            .into_iter()
            .collect(),
            ..header()
        };
        assert_eq!(good().check(), Ok(()));
        assert_eq!(good().file_offset(&good().segments[1]), 7 * 512);
        let changes: [fn(&mut Header); 9] = [
            |header| header.command_line_len = 0,
            |header| header.command_line_len = 4097,
            |header| header.entry += 1,
            |header| header.entry = 0x20_003f,
            |header| header.segments[0].memory_len = 6,
            |header| header.segments[0].block = 7,
            |header| header.segments[1].block = u32::MAX,
            |header| header.kernel_len -= 1,
            |header| header.segments.clear(),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut header = good();
            change(&mut header);
            assert_eq!(header.check(), Err(HeaderError::Damaged), "change {index}");
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let block = header().encode();
        for at in 0..BLOCK_LEN {
            let mut spoilt = block;
            spoilt[at] ^= 0x10;
            let error = if at < 4 { HeaderError::NoHeader } else { HeaderError::Damaged };
            assert_eq!(Header::decode(&spoilt), Err(error), "{at}");
        }
        let mut other = block;
        other[offset::VERSION] = 2;
        seal(&mut other);
        assert_eq!(Header::decode(&other), Err(HeaderError::OtherVersion(2)));
        for count in [0, SEGMENTS_MAX as u8 + 1] {
            let mut other = block;
            other[offset::SEGMENT_COUNT] = count;
            seal(&mut other);
            assert_eq!(Header::decode(&other), Err(HeaderError::Damaged), "{count} segments");
        }
    }
}
