//! Where the kernel's parts are in its file and in memory.

use crate::failure::Failure;
use arrayvec::ArrayVec;
use core::ops::Range;
use guest_interface::layout::HIGH_RAM_START;
use image_header::{Header, SEGMENTS_MAX};

/// A part of the kernel that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where its bytes begin in the file.
    pub(crate) file_offset: u64,
    /// How many there are.
    pub(crate) file_len: u32,
    /// Their CRC-32.
    pub(crate) crc: u32,
    /// Physical address that it belongs at, above 1 MiB.
    pub(crate) address: u32,
    /// Bytes in memory, as many as in the file or more; those behind are 0. It ends below 4 GiB.
    pub(crate) memory_len: u32,
}

impl Segment {
    /// The memory that it belongs in.
    pub(crate) fn place(&self) -> Range<u64> {
        let start = u64::from(self.address);
        start..start + u64::from(self.memory_len)
    }
}

/// All segments of a header. No two overlap: each is checked where it is gathered, so none may spoil another later on.
///
/// # Errors
/// [`Failure::HeaderDamaged`] if the header contradicts itself, [`Failure::NoRam`] for a place outside of 1 MiB to 4 GiB.
pub(crate) fn plan(header: &Header) -> Result<ArrayVec<Segment, SEGMENTS_MAX>, Failure> {
    header.check()?;
    let mut segments = ArrayVec::<Segment, SEGMENTS_MAX>::new();
    for it in &header.segments {
        let segment = Segment {
            file_offset: header.file_offset(it),
            file_len: it.disk_len,
            crc: it.crc,
            address: it.address,
            memory_len: it.memory_len,
        };
        let place = segment.place();
        if place.start < HIGH_RAM_START || place.end > 1 << 32 {
            return Err(Failure::NoRam);
        }
        if segments.iter().any(|other| overlap(&other.place(), &place)) {
            return Err(Failure::HeaderDamaged);
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// Whether two ranges have an address in common.
pub(crate) fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A header of two segments, at 2 and 4 MiB.
    fn header() -> Header {
        let segment = |block, address, disk_len| image_header::Segment {
            block,
            address,
            disk_len,
            memory_len: 0x2000,
            crc: block,
        };
        Header {
            stage_crc: 0,
            stage_blocks: 2,
            entry: 0x20_0040,
            command_line_block: 0,
            command_line_len: 9,
            command_line_crc: 0,
            kernel_block: 100,
            kernel_len: 0x2400,
            kernel_sha256: [0; 32],
            name: Default::default(),
            tool_version: Default::default(),
            segments: [segment(108, 0x20_0000, 600), segment(112, 0x40_0000, 0xc00)].into_iter().collect(),
        }
    }

    pub(crate) fn segments() -> ArrayVec<Segment, SEGMENTS_MAX> {
        plan(&header()).unwrap()
    }

    #[test]
    fn segments_are_found_in_the_file() {
        let segments = segments();
        assert_eq!(segments[0].file_offset, 8 * 512);
        assert_eq!(
            segments[1],
            Segment {
                file_offset: 12 * 512,
                file_len: 0xc00,
                crc: 112,
                address: 0x40_0000,
                memory_len: 0x2000
            }
        );
        assert_eq!(segments[1].place(), 0x40_0000..0x40_2000);
    }

    #[test]
    fn a_segment_stays_between_1_mib_and_4_gib() {
        for (address, expected) in [
            (0, Err(Failure::NoRam)),
            (0xf_f000, Err(Failure::NoRam)),
            (0x10_0000, Ok(())),
            (0xffff_e000, Ok(())),
            (0xffff_e001, Err(Failure::NoRam)),
        ] {
            let mut header = header();
            header.segments[1].address = address;
            assert_eq!(plan(&header).map(drop), expected, "{address:#x}");
        }
    }

    #[test]
    fn segments_do_not_overlap() {
        for (address, expected) in [
            (0x1f_e000, Ok(())),
            (0x1f_e001, Err(Failure::HeaderDamaged)),
            (0x20_1fff, Err(Failure::HeaderDamaged)),
            (0x20_2000, Ok(())),
        ] {
            let mut header = header();
            header.segments[1].address = address;
            assert_eq!(plan(&header).map(drop), expected, "{address:#x}");
        }
    }

    #[test]
    fn a_header_that_cannot_be_is_damaged() {
        let mut header = header();
        header.entry = 0;
        assert_eq!(plan(&header), Err(Failure::HeaderDamaged));
    }
}
