//! Where the RAM of a machine lies in guest-physical memory: what backs it, and what the guest is told of it.

use crate::memory::size::MemoryLen;
use guest_interface::layout::{
    ACPI_TABLES, DEVICE_HOLE_END, DEVICE_HOLE_START, HIGH_RAM_START, LOW_RAM_END, PAGE_LEN,
};

/// A range of guest-physical addresses, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub start: u64,
    /// Length in bytes, never zero.
    pub len_bytes: u64,
}

impl Region {
    /// The address behind the last.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.start + self.len_bytes
    }
}

/// The part of the BIOS hole that holds the ACPI tables. The guest has it to read, as it would have a ROM.
pub const ROM: Region = Region { start: ACPI_TABLES, len_bytes: HIGH_RAM_START - ACPI_TABLES };
const _: () = assert!(ROM.start.is_multiple_of(PAGE_LEN) && ROM.len_bytes.is_multiple_of(PAGE_LEN));

/// Longest firmware in bytes. It is a ROM at the end of the device hole, where a processor starts.
pub const FIRMWARE_LEN_MAX: u64 = 1 << 20;

/// The regions that are backed by host memory, in ascending order: one below the device hole, and one above 4 GiB if
/// there is more RAM than fits below. Behind the BIOS hole, too, is memory, with the ACPI tables; the guest is merely not
/// told of it as RAM.
pub fn backed_regions(memory: MemoryLen) -> impl Iterator<Item = Region> + Clone {
    let low_len = memory.bytes().min(DEVICE_HOLE_START);
    let low = Region { start: 0, len_bytes: low_len };
    let high = Region { start: DEVICE_HOLE_END, len_bytes: memory.bytes() - low_len };
    [low, high].into_iter().filter(|region| region.len_bytes > 0)
}

/// The RAM that the guest is told of, in ascending order: the backed regions without the BIOS hole.
pub fn usable_regions(memory: MemoryLen) -> impl Iterator<Item = Region> + Clone {
    let below_hole = Region { start: 0, len_bytes: LOW_RAM_END };
    std::iter::once(below_hole).chain(backed_regions(memory).map(|region| {
        let start = region.start.max(HIGH_RAM_START);
        Region { start, len_bytes: region.end() - start }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::layout::{MEMORY_LEN_MAX, MEMORY_LEN_MIN};

    fn backed(len_bytes: u64) -> Vec<Region> {
        backed_regions(MemoryLen::new(len_bytes).unwrap()).collect()
    }

    #[test]
    fn ram_beyond_the_device_hole_continues_above_4_gib() {
        assert_eq!(backed(16 << 20), [Region { start: 0, len_bytes: 16 << 20 }]);
        assert_eq!(backed(3 << 30), [Region { start: 0, len_bytes: 3 << 30 }], "exactly up to the hole");
        assert_eq!(
            backed((3 << 30) + 4096),
            [Region { start: 0, len_bytes: 3 << 30 }, Region { start: 4 << 30, len_bytes: 4096 }]
        );
    }

    #[test]
    fn all_ram_is_backed_and_none_of_it_in_a_hole() {
        for len in [MEMORY_LEN_MIN, 1 << 30, DEVICE_HOLE_START, 6 << 30, MEMORY_LEN_MAX] {
            let memory = MemoryLen::new(len).unwrap();
            assert_eq!(backed_regions(memory).map(|region| region.len_bytes).sum::<u64>(), len);
            let usable: Vec<_> = usable_regions(memory).collect();
            let bios_hole = HIGH_RAM_START - LOW_RAM_END;
            assert_eq!(usable.iter().map(|region| region.len_bytes).sum::<u64>(), len - bios_hole);
            for pair in usable.windows(2) {
                assert!(pair[0].end() < pair[1].start, "{pair:?}");
            }
            for region in usable {
                assert!(region.end() <= LOW_RAM_END || region.start >= HIGH_RAM_START, "{region:?}");
                assert!(region.end() <= DEVICE_HOLE_START || region.start >= DEVICE_HOLE_END, "{region:?}");
            }
        }
    }
}
