//! Which memory is RAM, and which of it is free, from the map that the VMM gave.

use super::range_set::{RangeSet, TooManyRanges};
use super::{AddressRange, PAGE_LEN, covering_pages, whole_pages};
use guest_interface::layout::HIGH_RAM_START;
use spin::Once;

/// Most separate ranges of RAM a machine may have.
pub const RANGES_MAX: usize = 32;

/// One entry of a memory map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// The addresses it is about; may be unaligned, and overlap others.
    pub range: AddressRange,
    /// Whether they are RAM for anyone to use, or something else.
    pub is_ram: bool,
}

/// The RAM of the machine. Both sets consist of whole pages; physical page 0 is in neither.
#[derive(Clone, Debug)]
pub struct Ram {
    all: RangeSet<RANGES_MAX>,
    free: RangeSet<RANGES_MAX>,
}

impl Ram {
    /// Sorts out a memory map. What any entry says is not RAM, is not RAM. `reserved` ranges are RAM but not free, and
    /// neither is anything below [`HIGH_RAM_START`], where boot data and firmware live.
    ///
    /// # Errors
    /// [`TooManyRanges`] for a map in more than [`RANGES_MAX`] pieces.
    pub fn new(
        map: impl Iterator<Item = MapEntry> + Clone,
        reserved: impl Iterator<Item = AddressRange>,
    ) -> Result<Self, TooManyRanges> {
        let mut all = RangeSet::new();
        for entry in map.clone().filter(|entry| entry.is_ram) {
            all.insert(&whole_pages(&entry.range))?;
        }
        for entry in map.filter(|entry| !entry.is_ram) {
            all.remove(&covering_pages(&entry.range))?;
        }
        all.remove(&(0..PAGE_LEN))?;
        let mut free = all.clone();
        free.remove(&(0..HIGH_RAM_START))?;
        for range in reserved {
            free.remove(&covering_pages(&range))?;
        }
        Ok(Self { all, free })
    }

    /// Takes everything from `address` up out of both sets.
    ///
    /// # Errors
    /// None in fact: taking a tail away needs no further range.
    pub fn forget_from(&mut self, address: u64) -> Result<(), TooManyRanges> {
        self.all.remove(&(address..u64::MAX))?;
        self.free.remove(&(address..u64::MAX))
    }

    /// Takes a range out of the free RAM.
    ///
    /// # Errors
    /// [`TooManyRanges`], if that leaves it in too many pieces.
    pub fn use_up(&mut self, range: &AddressRange) -> Result<(), TooManyRanges> {
        self.free.remove(range)
    }

    /// All RAM.
    #[must_use]
    pub fn all(&self) -> &RangeSet<RANGES_MAX> {
        &self.all
    }

    /// The RAM that nothing uses at boot.
    #[must_use]
    pub fn free(&self) -> &RangeSet<RANGES_MAX> {
        &self.free
    }
}

static OF_MACHINE: Once<Ram> = Once::new();

/// The RAM of this machine; `None` before the memory map is read.
#[must_use]
pub fn of_machine() -> Option<&'static Ram> {
    OF_MACHINE.get()
}

/// Makes this the RAM of the machine. Only the first call counts.
pub(crate) fn set_of_machine(ram: Ram) -> &'static Ram {
    OF_MACHINE.call_once(|| ram)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ram(range: AddressRange) -> MapEntry {
        MapEntry { range, is_ram: true }
    }

    fn other(range: AddressRange) -> MapEntry {
        MapEntry { range, is_ram: false }
    }

    #[test]
    fn a_pc_map_in_any_order_gives_the_same_ram() {
        let map = [
            ram(0..0x9_fc00),
            other(0x9_fc00..0x10_0000),
            ram(0x10_0000..0x4000_0000),
            other(0xfffc_0000..1 << 32),
        ];
        let image = 0x20_0000..0x23_4567;
        for rotation in 0..map.len() {
            let mut map = map.clone();
            map.rotate_left(rotation);
            let ram = Ram::new(map.into_iter(), [image.clone()].into_iter()).unwrap();
            assert_eq!(ram.all().ranges(), [0x1000..0x9_f000, 0x10_0000..0x4000_0000]);
            assert_eq!(ram.free().ranges(), [0x10_0000..0x20_0000, 0x23_5000..0x4000_0000]);
        }
    }

    #[test]
    fn what_overlaps_something_else_is_not_ram() {
        let map = [ram(0x10_0000..0x80_0000), other(0x20_0fff..0x20_1001)];
        let ram = Ram::new(map.into_iter(), [].into_iter()).unwrap();
        assert_eq!(ram.all().ranges(), [0x10_0000..0x20_0000, 0x20_2000..0x80_0000]);
    }

    #[test]
    fn page_zero_is_never_ram() {
        let ram = Ram::new([ram(0..0x20_0000)].into_iter(), [].into_iter()).unwrap();
        assert!(!ram.all().contains(0));
        assert!(!ram.all().contains(PAGE_LEN - 1));
    }

    #[test]
    fn a_map_in_too_many_pieces_is_refused() {
        let pieces = |count: u64| (1..=count).map(|index| ram(index * 0x2000..index * 0x2000 + 0x1000));
        assert!(Ram::new(pieces(RANGES_MAX as u64), [].into_iter()).is_ok());
        let pieces = pieces(RANGES_MAX as u64 + 1);
        assert_eq!(Ram::new(pieces, [].into_iter()).unwrap_err(), TooManyRanges { capacity: RANGES_MAX });
    }
}
