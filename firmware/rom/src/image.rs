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

/// Whether what a header says can be. It is as it was written, by its checksum; what is read by it has to fit all the same.
fn check(header: &Header, map: MemoryMap<'_>) -> Result<(), Failure> {
    let line_fits = (1..=COMMAND_LINE_LEN_MAX).contains(&(header.command_line_len as usize));
    let lengths_fit = header.segments.iter().all(|segment| segment.disk_len <= segment.memory_len);
    let holds_entry = |segment: &Segment| {
        header.entry.checked_sub(segment.address).is_some_and(|offset| offset < segment.disk_len)
    };
    if !line_fits || !lengths_fit {
        return Err(Failure::HeaderDamaged);
    }
    let has_place = |segment: &Segment| {
        let (start, end) = (u64::from(segment.address), u64::from(segment.address) + u64::from(segment.memory_len));
        start >= u64::from(ram::START) && end <= u64::from(ram::END) && map.is_ram(start, end)
    };
    if !header.segments.iter().all(has_place) {
        return Err(Failure::NoRamForImage);
    }
    if header.segments.iter().any(holds_entry) { Ok(()) } else { Err(Failure::HeaderDamaged) }
}

/// A segment's bytes that come from the disk, and those that are 0.
fn bytes<'a>(ram: &'a mut impl Ram, segment: &Segment) -> Result<(&'a mut [u8], &'a mut [u8]), Failure> {
    let bytes = ram.bytes(segment.address, segment.memory_len).ok_or(Failure::NoRamForImage)?;
    bytes.split_at_mut_checked(segment.disk_len as usize).ok_or(Failure::HeaderDamaged)
}
