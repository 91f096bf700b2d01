//! What the parts of the live address space are called. For messages alone: nothing is decided by a name.

use crate::memory::address::VirtAddr;
use crate::memory::page_table::VirtRange;
use spin::Mutex;

/// Most regions that have names; others have none.
const REGIONS_MAX: usize = 96;

static REGIONS: Mutex<Regions> = Mutex::new(Regions([None; REGIONS_MAX]));

/// A named part of the address space, with the guards around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// What it is called.
    pub name: &'static str,
    /// Its addresses, without the guards.
    pub range: VirtRange,
    guard_below: u64,
    guard_above: u64,
    is_stack: bool,
}

/// Where an address lies, seen from the nearest region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a region.
    Inside(Region),
    /// In the guard below a region.
    GuardBelow(Region),
    /// In the guard above a region.
    GuardAbove(Region),
    /// So many bytes below the start of the nearest region.
    Below(Region, u64),
    /// So many bytes above the last byte of the nearest region.
    Above(Region, u64),
}

impl Region {
    /// A region without guards.
    #[must_use]
    pub const fn new(name: &'static str, range: VirtRange) -> Self {
        Self { name, range, guard_below: 0, guard_above: 0, is_stack: false }
    }

    /// A stack.
    #[must_use]
    pub const fn stack(name: &'static str, range: VirtRange) -> Self {
        Self { is_stack: true, ..Self::new(name, range) }
    }

    /// Whether it is a stack, whose guard below is there for overflows.
    #[must_use]
    pub const fn is_stack(&self) -> bool {
        self.is_stack
    }

    /// The same with guards of so many bytes.
    #[must_use]
    pub const fn guarded(self, below_bytes: u64, above_bytes: u64) -> Self {
        Self { guard_below: below_bytes, guard_above: above_bytes, ..self }
    }

    fn is_continued_by(&self, next: &Self) -> bool {
        let end = self.range.start.as_u64().wrapping_add(self.range.len_bytes);
        self.name == next.name
            && end == next.range.start.as_u64()
            && [self.guard_below, self.guard_above, next.guard_below, next.guard_above] == [0; 4]
    }

    fn place_of(&self, address: u64) -> Place {
        let start = self.range.start.as_u64();
        let last = start + (self.range.len_bytes - 1);
        match (start.checked_sub(address), address.checked_sub(last)) {
            (Some(below @ 1..), _) if below <= self.guard_below => Place::GuardBelow(*self),
            (Some(below @ 1..), _) => Place::Below(*self, below),
            (_, Some(above @ 1..)) if above <= self.guard_above => Place::GuardAbove(*self),
            (_, Some(above @ 1..)) => Place::Above(*self, above),
            _ => Place::Inside(*self),
        }
    }
}

impl Place {
    /// The least is the most telling: a small region, with its guards, before a large one that may lie around them, and both
    /// before what is merely near.
    fn rank(&self) -> (u8, u64) {
        match self {
            Self::Inside(region) | Self::GuardBelow(region) | Self::GuardAbove(region) => {
                (0, region.range.len_bytes)
            }
            Self::Below(_, distance) | Self::Above(_, distance) => (1, *distance),
        }
    }
}

struct Regions([Option<Region>; REGIONS_MAX]);

impl Regions {
    fn place_of(&self, address: u64) -> Option<Place> {
        let places = self.0.iter().flatten().map(|region| region.place_of(address));
        places.min_by_key(Place::rank)
    }
}

/// Notes a region; one that follows a region of the same name, both without guards, makes that longer. One that is empty, or
/// one too many, has no name in messages.
pub(crate) fn add(region: Region) {
    let mut regions = REGIONS.lock();
    if region.range.len_bytes == 0 {
        return;
    }
    if let Some(before) = regions.0.iter_mut().flatten().find(|before| before.is_continued_by(&region)) {
        before.range.len_bytes += region.range.len_bytes;
    } else if let Some(slot) = regions.0.iter_mut().find(|slot| slot.is_none()) {
        *slot = Some(region);
    }
}

/// Forgets the regions of a name that lie in a range.
pub(crate) fn remove(name: &str, range: VirtRange) {
    let inside = |region: &Region| {
        let offset = region.range.start.as_u64().wrapping_sub(range.start.as_u64());
        region.name == name && offset < range.len_bytes
    };
    for slot in REGIONS.lock().0.iter_mut().filter(|slot| slot.as_ref().is_some_and(inside)) {
        *slot = None;
    }
}

/// Where an address lies. `None` before there are regions, and if the lock is held, which a fault must not wait for.
#[must_use]
pub fn place_of(address: VirtAddr) -> Option<Place> {
    REGIONS.try_lock()?.place_of(address.as_u64())
}

/// The name of the region that holds an address, if one does.
#[must_use]
pub fn name_of(address: VirtAddr) -> Option<&'static str> {
    match place_of(address) {
        Some(Place::Inside(region)) => Some(region.name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &'static str, start: u64, len: u64) -> Region {
        Region::new(name, VirtRange::new(VirtAddr::new(start), len))
    }

    #[test]
    fn the_most_telling_region_is_named() {
        let window = region("window", 0x10_0000, 0x10_0000);
        let metadata = region("metadata", 0x11_0000, 0x1000);
        let inner = region("stack in the window", 0x12_0000, 0x4000).guarded(0x1000, 0);
        let stack = region("stack", 0xffff_ffff_ffff_8000, 0x8000).guarded(0x1000, 0);
        let mut regions = Regions([None; REGIONS_MAX]);
        for (slot, region) in regions.0.iter_mut().zip([window, metadata, inner, stack]) {
            *slot = Some(region);
        }
        let place = |address| regions.place_of(address).unwrap();
        assert_eq!(place(0x10_0000), Place::Inside(window));
        assert_eq!(place(0x11_0fff), Place::Inside(metadata));
        assert_eq!(place(0x11_1000), Place::Inside(window));
        assert_eq!(place(0x11_f000), Place::GuardBelow(inner));
        assert_eq!(place(0x12_4000), Place::Inside(window));
        assert_eq!(place(0x1f_ffff), Place::Inside(window));
        assert_eq!(place(0x20_0000), Place::Above(window, 1));
        assert_eq!(place(0xf_fff0), Place::Below(window, 0x10));
        assert_eq!(place(0xffff_ffff_ffff_7fff), Place::GuardBelow(stack));
        assert_eq!(place(0xffff_ffff_ffff_7000), Place::GuardBelow(stack));
        assert_eq!(place(0xffff_ffff_ffff_6fff), Place::Below(stack, 0x1001));
        assert_eq!(place(u64::MAX), Place::Inside(stack));
    }

    #[test]
    fn what_follows_a_region_of_its_name_makes_it_longer() {
        let pages =
            [0x5100_0000_0000, 0x5100_0000_1000, 0x5100_0000_2000].map(|at| region("pages", at, 0x1000));
        pages.into_iter().for_each(add);
        assert_eq!(
            place_of(VirtAddr::new(0x5100_0000_2fff)),
            Some(Place::Inside(region("pages", 0x5100_0000_0000, 0x3000)))
        );
        remove("pages", pages[0].range);
        assert_eq!(name_of(VirtAddr::new(0x5100_0000_2fff)), None);
    }

    #[test]
    fn a_region_that_is_gone_has_no_name() {
        let at = |address| VirtAddr::new(address);
        let device = region("device of the test", 0x5000_0000_1000, 0x1000).guarded(0x1000, 0x1000);
        add(device);
        add(region("nothing", 0x5000_0000_1000, 0));
        assert_eq!(name_of(at(0x5000_0000_1fff)), Some("device of the test"));
        assert_eq!(place_of(at(0x5000_0000_2000)), Some(Place::GuardAbove(device)));
        remove("device of the test", VirtRange::new(at(0x5000_0000_0000), 0x3000));
        assert_eq!(name_of(at(0x5000_0000_1fff)), None);
    }
}
