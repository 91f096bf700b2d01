//! Lays out a disk. The same appliance and command line always give the same bytes.
//!
//! ```text
//! block 0      protective MBR, with the BIOS loader's boot sector as its code
//! block 1      GUID partition table: header, then 32 blocks of entries
//! block 34     unused
//! block 40     BIOS boot partition: the loaders' header, behind it the BIOS loader's second stage,
//!              at a multiple of 2 KiB the command line, and at one of 4 KiB the kernel's file, as it is
//! the last 33  the partition table's copy
//! ```
//!
//! With a UEFI loader, the first partition ends behind the second stage. At the next multiple of 4 KiB follows the EFI system
//! partition, and command line and kernel are files in there, which lie in one piece and at multiples of 4 KiB, too: the BIOS
//! loader reads the same blocks.
//!
//! A disk is at least one cylinder long: SeaBIOS reads the boot sector by cylinder, head and sector, and finds none on less.

use crate::error::Error;
use crate::kernel::{Kernel, LoadSegment};
use crate::partition_table::{self, PARTITION_NAME, Plan, SYSTEM_PARTITION_NAME};
use crate::system_partition::{self, Files, block_of};
use arrayvec::{ArrayString, ArrayVec};
use bios_loader::CD_SECTOR_BLOCKS;
use gpt::partition_types;
use image_header::{BLOCK_LEN, HEADER_BLOCK, Header, SEGMENTS_MAX, Segment, TOOL_VERSION_LEN_MAX};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Blocks of the partition table's copy: its entries and its header.
const TABLE_COPY_BLOCKS: u64 = 33;

/// Least blocks of a disk: one cylinder of 16 heads and 63 sectors.
const DISK_BLOCKS_MIN: u64 = 16 * 63;

/// Kernel and EFI system partition begin at a multiple of this, in blocks: 4 KiB.
pub(crate) const ALIGN_BLOCKS: u32 = 8;

/// What goes onto a disk.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The appliance's path, for errors and the name in the header.
    pub path: &'a Path,
    /// Its bytes.
    pub appliance: &'a [u8],
    /// The command line, without NUL.
    pub command_line: &'a str,
    /// What UEFI firmware starts; without it, only a BIOS boots the disk.
    pub uefi_loader: Option<UefiLoader<'a>>,
}

/// A UEFI loader.
#[derive(Clone, Copy, Debug)]
pub struct UefiLoader<'a> {
    /// Its path, for errors.
    pub path: &'a Path,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What a format wants of a disk's layout, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Where the kernel may begin, or the EFI system partition that it is in.
    pub kernel_block_min: u32,
    /// The least length of the disk.
    pub blocks_min: u64,
    /// What the disk's length is a multiple of.
    pub blocks_multiple: u64,
}

impl Layout {
    /// A raw disk's: as short as can be.
    pub const RAW: Self = Self { kernel_block_min: 0, blocks_min: 0, blocks_multiple: 1 };
}

/// Makes a disk.
///
/// # Errors
/// [`Error`] if the appliance is none, or does not fit.
pub fn make(content: &Content<'_>, layout: Layout) -> Result<Vec<u8>, Error> {
    let kernel = Kernel::read(content.appliance)
        .map_err(|source| Error::Kernel { path: content.path.into(), source })?;
    let no_name = || Error::Name { path: content.path.into() };
    let name = ArrayString::from(name(content.path).ok_or_else(no_name)?).map_err(|_| no_name())?;
    let stage = bios_loader::stage();
    let command_line = [content.command_line.as_bytes(), &[0]].concat();

    let header = |command_line_block, kernel_block| Header {
        stage_crc: crc32fast::hash(stage),
        stage_blocks: blocks(stage.len()),
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
    let stage_end = HEADER_BLOCK + 1 + blocks(stage.len());
    let Some(loader) = content.uefi_loader else {
        let command_line_block = stage_end.next_multiple_of(CD_SECTOR_BLOCKS);
        let kernel_block = (command_line_block + blocks(command_line.len()))
            .max(layout.kernel_block_min)
            .next_multiple_of(ALIGN_BLOCKS);
        let header = header(command_line_block, kernel_block).encode();
        let end = kernel_block + blocks(content.appliance.len());
        let parts = [
            (HEADER_BLOCK, &header[..]),
            (HEADER_BLOCK + 1, stage),
            (command_line_block, &command_line),
            (kernel_block, content.appliance),
        ];
        return disk(&parts, &[(partition_types::BIOS, PARTITION_NAME, HEADER_BLOCK..end)], layout);
    };
    system_partition::check_loader(loader.bytes)
        .map_err(|source| Error::UefiLoader { path: loader.path.into(), source })?;
    let volume = |header: &Header| {
        system_partition::make(&Files {
            loader: loader.bytes,
            header: &header.encode(),
            command_line: &command_line,
            kernel: content.appliance,
        })
        .map_err(Error::SystemPartition)
    };
    let volume_block = stage_end.max(layout.kernel_block_min).next_multiple_of(ALIGN_BLOCKS);
    let header_for = |volume: &[u8]| {
        let block = |content| block_of(volume, content).map(|block| volume_block + block);
        let blocks = block(&command_line).zip(block(content.appliance));
        let (command_line_block, kernel_block) = blocks.ok_or(Error::Scattered)?;
        Ok::<_, Error>(header(command_line_block, kernel_block))
    };
    // Where files lie in a volume depends on their lengths alone: the right header is where another was.
    let header = header_for(&volume(&header(0, 0))?)?;
    let volume = volume(&header)?;
    if header_for(&volume)? != header {
        return Err(Error::Scattered);
    }
    let header = header.encode();
    let parts = [(HEADER_BLOCK, &header[..]), (HEADER_BLOCK + 1, stage), (volume_block, &volume)];
    let partitions = [
        (partition_types::BIOS, PARTITION_NAME, HEADER_BLOCK..stage_end),
        (partition_types::EFI, SYSTEM_PARTITION_NAME, volume_block..volume_block + blocks(volume.len())),
    ];
    disk(&parts, &partitions, layout)
}

/// An appliance's name: its file's, without the ending that `cargo run` in a crate of its own gives what it has packed.
fn name(path: &Path) -> Option<&str> {
    let is_packed = path.extension().is_some_and(|extension| extension == "image");
    if is_packed { path.file_stem() } else { path.file_name() }.and_then(|name| name.to_str())
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

/// A disk with these parts, each from a block on, and partitions, of which the last ends last. It has a protective MBR with the
/// boot code, and a partition table with its copy.
fn disk(parts: &[(u32, &[u8])], plans: &[Plan], layout: Layout) -> Result<Vec<u8>, Error> {
    let end_block = plans.last().map_or(HEADER_BLOCK, |(.., blocks)| blocks.end);
    let least = (u64::from(end_block) + TABLE_COPY_BLOCKS).max(DISK_BLOCKS_MIN);
    let blocks_total = least.max(layout.blocks_min).next_multiple_of(layout.blocks_multiple);
    let mut disk = vec![0; blocks_total as usize * BLOCK_LEN];
    for (block, bytes) in parts {
        let at = *block as usize * BLOCK_LEN;
        disk[at..at + bytes.len()].copy_from_slice(bytes);
    }
    partition_table::write(disk, plans, end_block).map_err(|error| Error::PartitionTable(error.to_string()))
}

/// Blocks that hold `len` bytes; lengths here are below 4 GiB.
pub(crate) fn blocks(len: usize) -> u32 {
    len.div_ceil(BLOCK_LEN) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system_partition::tests::loader;
    use crate::test_appliance::{CONTENT, appliance};
    use gpt::GptConfig;
    use std::io::Cursor;

    /// The offsets that firmware/README.md names.
    #[test]
    fn everything_is_in_its_place() {
        let (appliance, path) = (appliance(), Path::new("tiny"));
        let content = Content { path, appliance: &appliance, command_line: "log=info", uefi_loader: None };
        let disk = make(&content, Layout::RAW).unwrap();
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
        let command_line = (0x5200 + bios_loader::stage().len()).next_multiple_of(0x800);
        holds(command_line, b"log=info\0");
        holds((command_line + 9).next_multiple_of(0x1000), &appliance);
        holds(disk.len() - BLOCK_LEN, b"EFI PART");
        assert_eq!(disk.len(), 1008 * BLOCK_LEN);
    }

    /// The layout with a UEFI loader that firmware/README.md has.
    #[test]
    fn both_loaders_find_the_same_files() {
        let (appliance, path, loader) = (appliance(), Path::new("tiny"), loader());
        let uefi_loader = Some(UefiLoader { path, bytes: &loader });
        let content = Content { path, appliance: &appliance, command_line: "log=info", uefi_loader };
        let disk = make(&content, Layout::RAW).unwrap();
        let from = |block: u32| &disk[block as usize * BLOCK_LEN..];
        let header = Header::decode(from(HEADER_BLOCK).first_chunk().unwrap()).unwrap();
        assert!(from(header.command_line_block).starts_with(b"log=info\0"));
        assert!(from(header.kernel_block).starts_with(&appliance));
        for block in [header.command_line_block, header.kernel_block] {
            assert!(block.is_multiple_of(8), "{block}");
        }
        assert_eq!(header.check(), Ok(()));
        assert_eq!(header.file_offset(&header.segments[0]), CONTENT as u64);

        let table = GptConfig::new().open_from_device(Cursor::new(disk.clone())).unwrap();
        let partitions: Vec<_> = table.partitions().values().filter(|it| it.is_used()).collect();
        let [bios, system] = partitions[..] else { panic!("{partitions:?}") };
        assert_eq!((&bios.part_type_guid, bios.first_lba), (&partition_types::BIOS, 40));
        assert_eq!(bios.last_lba + 1, 41 + u64::from(header.stage_blocks));
        assert_eq!(system.part_type_guid, partition_types::EFI);
        assert_eq!(system.first_lba, (bios.last_lba + 1).next_multiple_of(8));
        assert!(system.last_lba > u64::from(header.kernel_block + blocks(appliance.len())));
        assert_ne!(bios.part_guid, system.part_guid);

        let volume =
            &from(system.first_lba as u32)[..(system.last_lba + 1 - system.first_lba) as usize * BLOCK_LEN];
        let files = system_partition::tests::read(volume).unwrap();
        assert_eq!(files.header, header.encode());
        assert_eq!(files.command_line, b"log=info\0");
        assert!(files.kernel == appliance && files.loader == loader);
    }

    #[test]
    fn a_program_that_is_no_loader_is_refused() {
        let (appliance, path) = (appliance(), Path::new("tiny"));
        let uefi_loader = Some(UefiLoader { path, bytes: &appliance });
        let content = Content { path, appliance: &appliance, command_line: "", uefi_loader };
        assert!(matches!(make(&content, Layout::RAW), Err(Error::UefiLoader { .. })));
    }

    #[test]
    fn a_layout_is_kept_to() {
        let (appliance, path) = (appliance(), Path::new("tiny"));
        let content = Content { path, appliance: &appliance, command_line: "", uefi_loader: None };
        let layout = Layout { kernel_block_min: 1001, blocks_min: 2000, blocks_multiple: 64 };
        let disk = make(&content, layout).unwrap();
        assert_eq!(disk.len(), 2048 * BLOCK_LEN);
        assert_eq!(&disk[1008 * BLOCK_LEN..][..appliance.len()], appliance);
        assert_eq!(&disk[disk.len() - BLOCK_LEN..][..8], b"EFI PART");
    }

    #[test]
    fn a_packed_appliance_has_its_own_name() {
        for (path, expected) in [
            ("release/greeter.image", "greeter"),
            ("greeter", "greeter"),
            ("greeter.v1", "greeter.v1"),
            (".image", ".image"),
        ] {
            assert_eq!(name(Path::new(path)), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_name_without_room_is_refused() {
        let (appliance, name) = (appliance(), "n".repeat(33));
        let content =
            Content { path: Path::new(&name), appliance: &appliance, command_line: "", uefi_loader: None };
        assert!(matches!(make(&content, Layout::RAW), Err(Error::Name { .. })));
    }
}
