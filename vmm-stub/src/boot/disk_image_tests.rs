//! Disks that are right, damaged, cut, and whose header says what is not so.

use super::*;
use crate::boot::image::ImageError;
use crate::boot::image_file::ImageFile;
use guest_interface::layout::{HIGH_RAM_START, IMAGE_BASE};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

const HEADER_AT: usize = image_header::HEADER_BLOCK as usize * BLOCK_LEN;
const LINE_BLOCK: usize = 42;
const KERNEL_BLOCK: usize = 48;
const KERNEL_AT: usize = KERNEL_BLOCK * BLOCK_LEN;
const LINE: &[u8] = b"log=warn -- one\0";
const ENTRY: u32 = IMAGE_BASE as u32 + 8;

/// An ELF file of four blocks: its headers, a note, and two segments, the second with memory behind its bytes.
fn kernel() -> Vec<u8> {
    let mut file = vec![0; 4 * BLOCK_LEN];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    for (at, value) in [(16, 2_u16), (18, 62), (54, 56), (56, 3)] {
        put(at, &value.to_le_bytes());
    }
    for (at, value) in [(24, u64::from(ENTRY)), (32, 64)] {
        put(at, &value.to_le_bytes());
    }
    let headers = [
        (elf::abi::PT_NOTE, 0x180_u64, 0, 20_u64, 20_u64),
        (elf::abi::PT_LOAD, 0x200, IMAGE_BASE, 0x200, 0x200),
        (elf::abi::PT_LOAD, 0x400, IMAGE_BASE + 0x1000, 0x150, 0x2000),
    ];
    for (index, (kind, offset, address, file_len, memory_len)) in headers.into_iter().enumerate() {
        let at = 64 + index * 56;
        put(at, &kind.to_le_bytes());
        for (field, value) in [(8, offset), (24, address), (32, file_len), (40, memory_len)] {
            put(at + field, &value.to_le_bytes());
        }
    }
    for (at, value) in [(0x180, 4_u32), (0x184, 4), (0x188, 18), (0x190, ENTRY)] {
        put(at, &value.to_le_bytes());
    }
    put(0x18c, b"Xen\0");
    put(0x210, b"text");
    put(0x410, b"data");
    file
}

fn header() -> Header {
    let kernel = kernel();
    let segment = |block: usize, address: u64, disk_len: usize, memory_len| image_header::Segment {
        block: (KERNEL_BLOCK + block) as u32,
        address: address as u32,
        disk_len: disk_len as u32,
        memory_len,
        crc: crc32fast::hash(&kernel[block * BLOCK_LEN..][..disk_len]),
    };
    Header {
        stage_crc: 0,
        stage_blocks: 1,
        entry: ENTRY,
        command_line_block: LINE_BLOCK as u32,
        command_line_len: LINE.len() as u32,
        command_line_crc: crc32fast::hash(LINE),
        kernel_block: KERNEL_BLOCK as u32,
        kernel_len: kernel.len() as u32,
        kernel_sha256: [0; 32],
        name: Default::default(),
        tool_version: Default::default(),
        segments: [segment(1, IMAGE_BASE, 0x200, 0x200), segment(2, IMAGE_BASE + 0x1000, 0x150, 0x2000)]
            .into_iter()
            .collect(),
    }
}

fn disk(header: &Header) -> Vec<u8> {
    let mut disk = vec![0; KERNEL_AT];
    disk[HEADER_AT..HEADER_AT + BLOCK_LEN].copy_from_slice(&header.encode());
    disk[LINE_BLOCK * BLOCK_LEN..][..LINE.len()].copy_from_slice(LINE);
    disk.extend(kernel());
    disk
}

/// A file of one test, removed at its end.
struct TestFile(PathBuf);

impl TestFile {
    fn new(bytes: &[u8]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("vmm-stub-disk-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Reads all of a disk.
fn read(disk: &[u8]) -> Result<(String, Image), Error> {
    let file = TestFile::new(disk);
    match ImageFile::open(&file.0)? {
        ImageFile::Disk(disk) => {
            let image = disk.read_image(MemoryLen::new(16 << 20).unwrap())?;
            Ok((disk.command_line()?, image))
        }
        ImageFile::Elf(_) | ImageFile::Unknown(_) => panic!("it is taken for no disk"),
    }
}

fn disk_error(disk: &[u8]) -> DiskImageError {
    match read(disk).unwrap_err() {
        Error::DiskImage { source, .. } => source,
        error => panic!("{error}"),
    }
}

#[test]
fn command_line_and_image_are_read() {
    let mut disk = disk(&header());
    for len in [disk.len(), disk.len() + 5000] {
        disk.resize(len, 0xa5);
        let (line, image) = read(&disk).unwrap();
        assert_eq!(line, "log=warn -- one");
        assert_eq!((image.bytes(), image.entry().pvh), (&*kernel(), ENTRY));
    }
}

#[test]
fn every_changed_bit_that_counts_is_noticed() {
    let disk = disk(&header());
    let line = LINE_BLOCK * BLOCK_LEN..LINE_BLOCK * BLOCK_LEN + LINE.len();
    let segments = KERNEL_AT + 0x200..KERNEL_AT + 0x550;
    for (range, part) in [
        (HEADER_AT + 4..HEADER_AT + BLOCK_LEN, "the header's checksum is another"),
        (line, "the command line's checksum is another"),
        (segments, "the kernel's checksum is another"),
    ] {
        for place in range.step_by(3) {
            let mut disk = disk.clone();
            disk[place] ^= 0x10;
            assert_eq!(disk_error(&disk), damaged(part), "{place:#x}");
        }
    }
}

#[test]
fn a_disk_that_ends_early_is_truncated() {
    let disk = disk(&header());
    for len in (HEADER_AT + BLOCK_LEN..disk.len()).step_by(250).chain([disk.len() - 1]) {
        let expected = DiskImageError::Truncated { len_bytes: len as u64, expected: disk.len() as u64 };
        assert_eq!(disk_error(&disk[..len]), expected);
    }
}

#[test]
fn a_header_of_another_version_is_not_read() {
    let mut disk = disk(&header());
    disk[HEADER_AT + image_header::offset::VERSION] = 2;
    image_header::seal(disk[HEADER_AT..].first_chunk_mut().unwrap());
    assert_eq!(disk_error(&disk), DiskImageError::OtherVersion(2));
}

/// Headers whose checksum is right.
#[test]
fn a_header_that_says_what_is_not_so_is_noticed() {
    const OTHER: DiskImageError = damaged("the header does not describe the kernel");
    type Change = fn(&mut Header);
    let changes: [(Change, DiskImageError); 13] = [
        (|header| header.entry += 1, OTHER),
        (|header| header.segments[0].address += 0x1000, OTHER),
        (|header| header.segments[1].memory_len -= 1, OTHER),
        (|header| header.segments[0].block = 0, OTHER),
        (|header| header.segments[0].block = u32::MAX, OTHER),
        (|header| header.segments[0].disk_len = u32::MAX, OTHER),
        (|header| header.segments.swap(0, 1), OTHER),
        (|header| header.segments.truncate(1), OTHER),
        (|header| header.segments.push(header.segments[1]), OTHER),
        (|header| header.command_line_len -= 1, damaged("the command line's checksum is another")),
        (
            |header| header.command_line_len = u32::MAX,
            damaged("the command line is longer than a kernel takes"),
        ),
        (
            |header| header.command_line_block = u32::MAX,
            DiskImageError::Truncated {
                len_bytes: KERNEL_AT as u64 + 2048,
                expected: u32::MAX as u64 * 512 + LINE.len() as u64,
            },
        ),
        (
            |header| header.kernel_len = u32::MAX,
            DiskImageError::Truncated {
                len_bytes: KERNEL_AT as u64 + 2048,
                expected: KERNEL_AT as u64 + u32::MAX as u64,
            },
        ),
    ];
    for (index, (change, expected)) in changes.into_iter().enumerate() {
        let mut header = header();
        change(&mut header);
        assert_eq!(disk_error(&disk(&header)), expected, "change {index}");
    }
}

#[test]
fn a_command_line_that_is_no_text_is_refused() {
    for line in [&b""[..], b"no NUL", b"a\0b\0", b"\xff\0"] {
        let mut header = header();
        (header.command_line_len, header.command_line_crc) = (line.len() as u32, crc32fast::hash(line));
        let mut disk = disk(&header);
        disk[LINE_BLOCK * BLOCK_LEN..][..line.len()].copy_from_slice(line);
        assert_eq!(disk_error(&disk), damaged("the command line is no text"), "{line:?}");
    }
}

#[test]
fn the_kernel_is_checked_as_one_in_a_file_of_its_own() {
    let mut disk = disk(&header());
    // The address in the first segment's program header, which no checksum covers.
    disk[KERNEL_AT + 64 + 56 + 24..][..8].copy_from_slice(&0x1000_u64.to_le_bytes());
    match read(&disk).unwrap_err() {
        Error::Image { source: ImageError::SegmentInBootData { address: 0x1000 }, .. } => {}
        error => panic!("{error}"),
    }
    disk[KERNEL_AT + 64 + 56 + 24..][..8].copy_from_slice(&HIGH_RAM_START.to_le_bytes());
    read(&disk).unwrap_err();
}

#[test]
fn without_our_signature_it_is_no_disk() {
    let mut disk = disk(&header());
    disk[HEADER_AT] = b'G';
    let file = TestFile::new(&disk);
    assert!(matches!(ImageFile::open(&file.0).unwrap(), ImageFile::Unknown(_)));
}
