//! Loads what a disk image holds, as its [header](image_header) says. Nothing is loaded before all of it has a place, and only
//! what lies in memory once everything is there is held against its checksum.

use crate::disk::Disk;
use crate::failure::Failure;
use crate::memory_map::MemoryMap;
use crate::ram::{self, Ram};
use guest_interface::layout::COMMAND_LINE_LEN_MAX;
use image_header::{BLOCK_LEN, HEADER_BLOCK, Header, Segment};

/// Loads the kernel of the image on a disk, and its command line, if there is no other and so a place for it.
///
/// Returns the kernel's PVH entry.
///
/// # Errors
/// A [`Failure`] that names what is damaged or has no place.
pub fn load(
    disk: &mut impl Disk,
    block: &mut [u8; BLOCK_LEN],
    map: MemoryMap<'_>,
    ram: &mut impl Ram,
    command_line: Option<&mut [u8; COMMAND_LINE_LEN_MAX]>,
) -> Result<u32, Failure> {
    disk.read(HEADER_BLOCK, block)?;
    let header = Header::decode(block)?;
    check(&header, map)?;

    let mut command_line = command_line.and_then(|place| place.get_mut(..header.command_line_len as usize));
    if let Some(line) = &mut command_line {
        disk.read(header.command_line_block, line)?;
    }
    for segment in &header.segments {
        let (loaded, cleared) = bytes(ram, segment)?;
        disk.read(segment.block, loaded)?;
        cleared.fill(0);
    }

    if let Some(line) = command_line
        && (crc32fast::hash(line) != header.command_line_crc || line.last() != Some(&0))
    {
        return Err(Failure::CommandLineDamaged);
    }
    for segment in &header.segments {
        if crc32fast::hash(bytes(ram, segment)?.0) != segment.crc {
            return Err(Failure::KernelDamaged);
        }
    }
    Ok(header.entry)
}

/// Whether what a header says can be, and each segment has a place in RAM.
fn check(header: &Header, map: MemoryMap<'_>) -> Result<(), Failure> {
    header.check()?;
    let has_place = |segment: &Segment| {
        let (start, end) =
            (u64::from(segment.address), u64::from(segment.address) + u64::from(segment.memory_len));
        start >= u64::from(ram::START) && end <= u64::from(ram::END) && map.is_ram(start, end)
    };
    if header.segments.iter().all(has_place) { Ok(()) } else { Err(Failure::NoRamForImage) }
}

/// A segment's bytes that come from the disk, and those that are 0.
fn bytes<'a>(ram: &'a mut impl Ram, segment: &Segment) -> Result<(&'a mut [u8], &'a mut [u8]), Failure> {
    let bytes = ram.bytes(segment.address, segment.memory_len).ok_or(Failure::NoRamForImage)?;
    bytes.split_at_mut_checked(segment.disk_len as usize).ok_or(Failure::HeaderDamaged)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::disk::tests::Bytes;
    use crate::memory_map::{E820_LEN, RANGES_MAX, Range};
    use crate::ram::tests::Bytes as RamBytes;
    use image_header::seal;

    const MIB: u32 = 1 << 20;
    pub(crate) const ENTRY: u32 = 2 * MIB + 5;
    pub(crate) const LINE: &[u8] = b"log=info -- of the image\0";
    const LINE_BLOCK: u32 = 45;
    const FIRST: &[u8] = &[0x11; 700];
    const SECOND: &[u8] = &[0x22; 1024];

    fn header() -> Header {
        let segment = |block, address, bytes: &[u8], memory_len| Segment {
            block,
            address,
            disk_len: bytes.len() as u32,
            memory_len,
            crc: crc32fast::hash(bytes),
        };
        Header {
            stage_crc: 0,
            stage_blocks: 1,
            entry: ENTRY,
            command_line_block: LINE_BLOCK,
            command_line_len: LINE.len() as u32,
            command_line_crc: crc32fast::hash(LINE),
            kernel_block: 50,
            kernel_len: 4096,
            kernel_sha256: [0; 32],
            name: Default::default(),
            tool_version: Default::default(),
            segments: [segment(50, 2 * MIB, FIRST, 701), segment(52, 3 * MIB, SECOND, 4096)]
                .into_iter()
                .collect(),
        }
    }

    fn with_header(header: &Header) -> Vec<u8> {
        let mut disk = vec![0xdd; 54 * BLOCK_LEN];
        let header = header.encode();
        let parts = [(HEADER_BLOCK, &header[..]), (LINE_BLOCK, LINE), (50, FIRST), (52, SECOND)];
        for (block, bytes) in parts {
            let at = block as usize * BLOCK_LEN;
            disk[at..at + bytes.len()].copy_from_slice(bytes);
        }
        disk
    }

    /// A whole disk.
    pub(crate) fn disk() -> Vec<u8> {
        with_header(&header())
    }

    /// The memory map of a machine with this much RAM.
    pub(crate) fn e820(len: u64) -> [u8; E820_LEN] {
        let mut bytes = [0; E820_LEN];
        bytes[8..16].copy_from_slice(&len.to_le_bytes());
        bytes[16] = 1;
        bytes
    }

    /// Loads in 4 MiB, and returns the entry, the RAM and the command line with what lies behind it.
    fn load(disk: Vec<u8>) -> Result<(u32, Vec<u8>, Vec<u8>), Failure> {
        let mut ranges = [Range::default(); RANGES_MAX];
        let map = MemoryMap::from_e820(&e820(4 << 20), &mut ranges)?;
        let mut ram = RamBytes::new(3 << 20);
        let mut line = [0xa5; COMMAND_LINE_LEN_MAX];
        let entry = super::load(&mut Bytes(disk), &mut [0; BLOCK_LEN], map, &mut ram, Some(&mut line))?;
        Ok((entry, ram.0, line.to_vec()))
    }

    fn changed(change: impl FnOnce(&mut Header)) -> Result<u32, Failure> {
        let mut header = header();
        change(&mut header);
        load(with_header(&header)).map(|(entry, ..)| entry)
    }

    #[test]
    fn segments_and_command_line_are_where_they_belong_and_nothing_else_is_touched() {
        let (entry, ram, line) = load(disk()).unwrap();
        assert_eq!(entry, ENTRY);
        let mut expected = vec![0xa5; 3 << 20];
        expected[1 << 20..][..700].copy_from_slice(FIRST);
        expected[(1 << 20) + 700] = 0;
        expected[2 << 20..][..4096].fill(0);
        expected[2 << 20..][..1024].copy_from_slice(SECOND);
        assert!(ram == expected);
        assert_eq!(line[..LINE.len()], *LINE);
        assert!(line[LINE.len()..].iter().all(|byte| *byte == 0xa5));
    }

    #[test]
    fn an_image_of_which_anything_is_missing_is_not_entered() {
        for len in (0..54 * BLOCK_LEN).step_by(BLOCK_LEN) {
            assert_eq!(load(disk()[..len].to_vec()), Err(Failure::DiskReadFailed), "{len}");
        }
    }

    #[test]
    fn what_is_damaged_is_named() {
        let at = |block: u32| block as usize * BLOCK_LEN;
        let parts = [
            (at(HEADER_BLOCK)..at(HEADER_BLOCK) + 4, Failure::NoHeader),
            (at(HEADER_BLOCK) + 4..at(HEADER_BLOCK + 1), Failure::HeaderDamaged),
            (at(LINE_BLOCK)..at(LINE_BLOCK) + LINE.len(), Failure::CommandLineDamaged),
            (at(50)..at(50) + FIRST.len(), Failure::KernelDamaged),
            (at(52)..at(52) + SECOND.len(), Failure::KernelDamaged),
        ];
        for (range, failure) in parts {
            for place in [range.start, range.start + range.len() / 2, range.end - 1] {
                let mut disk = disk();
                disk[place] ^= 0x40;
                assert_eq!(load(disk), Err(failure), "{place:#x}");
            }
        }
        let mut other = disk();
        let header = other[at(HEADER_BLOCK)..].first_chunk_mut().unwrap();
        header[image_header::offset::VERSION] = 2;
        seal(header);
        assert_eq!(load(other), Err(Failure::UnknownVersion));
    }

    #[test]
    fn a_header_that_contradicts_itself_is_refused() {
        let changes: [fn(&mut Header); 9] = [
            |it| it.command_line_len = 0,
            |it| it.command_line_len = 4097,
            |it| it.command_line_len = u32::MAX,
            |it| it.segments[0].memory_len = 699,
            |it| it.segments[1].disk_len = u32::MAX,
            |it| it.entry = 0,
            |it| it.entry = 2 * MIB - 1,
            |it| it.entry = 2 * MIB + 700,
            |it| it.entry = u32::MAX,
        ];
        for change in changes {
            assert_eq!(changed(change), Err(Failure::HeaderDamaged));
        }
        assert_eq!(changed(|it| it.entry = 3 * MIB + 1023), Ok(3 * MIB + 1023));
    }

    #[test]
    fn nothing_is_loaded_before_all_of_it_has_a_place() {
        let changes: [fn(&mut Header); 3] =
            [|it| it.segments[1].memory_len = 1023, |it| it.segments[1].address = 4 * MIB, |it| it.entry = 0];
        for change in changes {
            let mut header = header();
            change(&mut header);
            let mut ranges = [Range::default(); RANGES_MAX];
            let map = MemoryMap::from_e820(&e820(4 << 20), &mut ranges).unwrap();
            let (mut ram, mut line) = (RamBytes::new(3 << 20), [0xa5; COMMAND_LINE_LEN_MAX]);
            let mut disk = Bytes(with_header(&header));
            super::load(&mut disk, &mut [0; BLOCK_LEN], map, &mut ram, Some(&mut line)).unwrap_err();
            assert!(ram.0.iter().chain(&line).all(|byte| *byte == 0xa5));
        }
    }

    #[test]
    fn a_command_line_without_its_nul_is_refused() {
        let cut = changed(|it| {
            it.command_line_len -= 1;
            it.command_line_crc = crc32fast::hash(&LINE[..LINE.len() - 1]);
        });
        assert_eq!(cut, Err(Failure::CommandLineDamaged));
    }

    #[test]
    fn a_segment_without_a_place_is_refused() {
        for address in [0, 0x7c00, MIB - 1, 4 * MIB - 4095, 4 * MIB, 0x3fff_f000, 0xfee0_0000, u32::MAX] {
            assert_eq!(
                changed(|it| it.segments[1].address = address),
                Err(Failure::NoRamForImage),
                "{address:#x}"
            );
        }
        assert_eq!(changed(|it| it.segments[1].memory_len = u32::MAX), Err(Failure::NoRamForImage));
        assert_eq!(changed(|it| it.segments[1].address = 4 * MIB - 4096), Ok(ENTRY));
        assert_eq!(changed(|it| it.segments[1].address = MIB), Ok(ENTRY));
    }

    #[test]
    fn no_segment_lies_beyond_what_the_rom_maps() {
        let mut ranges = [Range::default(); RANGES_MAX];
        let map = MemoryMap::from_e820(&e820(4 << 30), &mut ranges).unwrap();
        let mut header = header();
        header.segments[1].address = ram::END - 4096;
        assert_eq!(check(&header, map), Ok(()));
        header.segments[1].address += 1;
        assert_eq!(check(&header, map), Err(Failure::NoRamForImage));
    }

    /// The second segment's clearing takes the last byte of the first.
    #[test]
    fn what_counts_is_what_lies_in_memory_in_the_end() {
        let overlapping = changed(|it| it.segments[1].address = 2 * MIB + 699 - 4095);
        assert_eq!(overlapping, Err(Failure::KernelDamaged));
    }

    #[test]
    fn a_command_line_that_is_not_wanted_is_not_looked_at() {
        let mut disk = disk();
        disk[LINE_BLOCK as usize * BLOCK_LEN] ^= 1;
        let mut ranges = [Range::default(); RANGES_MAX];
        let map = MemoryMap::from_e820(&e820(4 << 20), &mut ranges).unwrap();
        let loaded =
            super::load(&mut Bytes(disk), &mut [0; BLOCK_LEN], map, &mut RamBytes::new(3 << 20), None);
        assert_eq!(loaded, Ok(ENTRY));
    }
}
