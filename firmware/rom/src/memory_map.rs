//! The memory map: fw_cfg's `etc/e820`, made into the one that PVH hands to a kernel.
//!
//! QEMU's has the RAM below 4 GiB as one range from 0 on. What PCs have between 640 KiB and 1 MiB is taken out here.

use crate::failure::Failure;
use guest_interface::layout::{HIGH_RAM_START, LOW_RAM_END, MEMORY_MAP_ENTRIES_MAX};

/// Most ranges of a map.
pub const RANGES_MAX: usize = MEMORY_MAP_ENTRIES_MAX;

/// Bytes of an entry of `etc/e820`: start (`u64`), length in bytes (`u64`), type (`u32`), little-endian.
pub const E820_LEN: usize = 20;

/// E820's and PVH's type of RAM.
pub const RAM: u32 = 1;

/// PVH's `hvm_memmap_table_entry`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// [`RAM`], or something else.
    pub kind: u32,
    /// 0.
    pub reserved: u32,
}

impl Range {
    /// Its end, at most the end of all addresses.
    const fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }
}

/// A machine's memory map.
#[derive(Clone, Copy, Debug)]
pub struct MemoryMap<'a>(&'a [Range]);

impl<'a> MemoryMap<'a> {
    /// Makes a map of the bytes of `etc/e820`, in `ranges`.
    ///
    /// # Errors
    /// [`Failure::MemoryMapDamaged`], [`Failure::TooManyRanges`].
    pub fn from_e820(bytes: &[u8], ranges: &'a mut [Range; RANGES_MAX]) -> Result<Self, Failure> {
        let (entries, rest) = bytes.as_chunks::<E820_LEN>();
        if !rest.is_empty() {
            return Err(Failure::MemoryMapDamaged);
        }
        let mut count = 0;
        let mut add = |start: u64, end: u64, kind: u32| -> Result<(), Failure> {
            if start < end {
                let range = ranges.get_mut(count).ok_or(Failure::TooManyRanges)?;
                *range = Range { start, len: end - start, kind, reserved: 0 };
                count += 1;
            }
            Ok(())
        };
        for entry in entries {
            let range = decode(entry);
            if range.kind == RAM {
                add(range.start, range.end().min(LOW_RAM_END), RAM)?;
                add(range.start.max(HIGH_RAM_START), range.end(), RAM)?;
            } else {
                add(range.start, range.end(), range.kind)?;
            }
        }
        Ok(Self(&ranges[..count]))
    }

    /// Its ranges.
    #[must_use]
    pub const fn ranges(&self) -> &'a [Range] {
        self.0
    }

    /// Whether one range of RAM holds all from `start` to `end`, and no other kind of range any of it.
    #[must_use]
    pub fn is_ram(&self, start: u64, end: u64) -> bool {
        let holds = |range: &Range| range.kind == RAM && range.start <= start && end <= range.end();
        let spoils = |range: &Range| range.kind != RAM && range.start < end && start < range.end();
        self.0.iter().any(holds) && !self.0.iter().any(spoils)
    }
}

fn decode(entry: &[u8; E820_LEN]) -> Range {
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&entry[at..at + 8]);
        u64::from_le_bytes(word)
    };
    // The type is the upper half of the last eight bytes.
    Range { start: word(0), len: word(8), kind: (word(12) >> 32) as u32, reserved: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESERVED: u32 = 2;

    fn e820(ranges: &[(u64, u64, u32)]) -> Vec<u8> {
        let bytes = |&(start, len, kind): &(u64, u64, u32)| {
            [&start.to_le_bytes()[..], &len.to_le_bytes(), &kind.to_le_bytes()].concat()
        };
        ranges.iter().flat_map(bytes).collect()
    }

    fn map(bytes: &[u8]) -> Result<Vec<(u64, u64, u32)>, Failure> {
        let mut ranges = [Range { start: 5, len: 5, kind: 5, reserved: 5 }; RANGES_MAX];
        let map = MemoryMap::from_e820(bytes, &mut ranges)?;
        assert!(map.ranges().iter().all(|range| range.reserved == 0));
        Ok(map.ranges().iter().map(|range| (range.start, range.len, range.kind)).collect())
    }

    #[test]
    fn a_pc_has_no_ram_between_640_kib_and_1_mib() {
        let upper = (1 << 32, 1 << 30, RAM);
        let reserved = (0xfeff_c000, 0x4000, RESERVED);
        let split = [(0, 0x9_fc00, RAM), (0x10_0000, 0x3f0_0000, RAM)];
        assert_eq!(
            map(&e820(&[reserved, (0, 64 << 20, RAM), upper])),
            Ok(vec![reserved, split[0], split[1], upper])
        );
        assert_eq!(map(&e820(&split)), Ok(split.to_vec()));
        assert_eq!(map(&e820(&[(0x9_f000, 0x1000, RAM)])), Ok(vec![(0x9_f000, 0xc00, RAM)]));
        assert_eq!(map(&e820(&[(0xa_0000, 0x6_0001, RAM)])), Ok(vec![(0x10_0000, 1, RAM)]));
        assert_eq!(map(&e820(&[(0xa_0000, 0x1_0000, RAM), (7, 0, RAM), (7, 0, RESERVED)])), Ok(vec![]));
        assert_eq!(map(&[]), Ok(vec![]));
    }

    #[test]
    fn a_range_ends_where_addresses_end() {
        assert_eq!(map(&e820(&[(u64::MAX - 1, 9, RAM)])), Ok(vec![(u64::MAX - 1, 1, RAM)]));
        assert_eq!(map(&e820(&[(0, u64::MAX, 7)])), Ok(vec![(0, u64::MAX, 7)]));
    }

    #[test]
    fn no_more_ranges_than_a_kernel_takes() {
        let range = (1 << 20, 1, RAM);
        assert_eq!(map(&e820(&[range; RANGES_MAX])).unwrap().len(), RANGES_MAX);
        assert_eq!(map(&e820(&[range; RANGES_MAX + 1])), Err(Failure::TooManyRanges));
        let mut ranges = [range; RANGES_MAX];
        ranges[0] = (0, 2 << 20, RAM);
        assert_eq!(map(&e820(&ranges)), Err(Failure::TooManyRanges));
    }

    #[test]
    fn half_an_entry_is_none() {
        for missing in 1..E820_LEN {
            let bytes = e820(&[(0, 1 << 20, RAM); 2]);
            assert_eq!(map(&bytes[missing..]), Err(Failure::MemoryMapDamaged));
        }
    }

    #[test]
    fn ram_is_one_range_that_nothing_else_overlaps() {
        let mut ranges = [Range::default(); RANGES_MAX];
        let bytes = e820(&[
            (0x10_0000, 0x10_0000, RAM),
            (0x20_0000, 0x10_0000, RAM),
            (0x28_0000, 0x1000, RESERVED),
            (u64::MAX - 9, 100, RAM),
        ]);
        let map = MemoryMap::from_e820(&bytes, &mut ranges).unwrap();
        let cases = [
            (0x10_0000, 0x20_0000, true),
            (0x20_0000, 0x28_0000, true),
            (0x28_1000, 0x30_0000, true),
            (0xf_ffff, 0x20_0000, false),
            (0x10_0000, 0x20_0001, false),
            (0x28_1000, 0x30_0001, false),
            (0x27_0000, 0x28_0001, false),
            (0x28_0fff, 0x28_1000, false),
            (0x28_0fff, 0x28_1001, false),
            (0x40_0000, 0x40_0001, false),
            (u64::MAX - 9, u64::MAX, true),
            (u64::MAX - 10, u64::MAX, false),
        ];
        for (start, end, is_ram) in cases {
            assert_eq!(map.is_ram(start, end), is_ram, "{start:#x} to {end:#x}");
        }
    }
}
