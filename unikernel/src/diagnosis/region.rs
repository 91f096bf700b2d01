//! What lies at an address, in words.

use crate::memory::PAGE_LEN;
use crate::memory::address::VirtAddr;
use crate::memory::address_space::NULL_GUARD_BYTES;
use crate::memory::audit::{MappedLeaf, Translation, look_up};
use crate::memory::guarded_stack::BOOT_STACK;
use crate::memory::kind::Kind;
use crate::memory::live;
use crate::memory::live::regions::{self, Place, Region};
use crate::memory::page_size::{PageSize, Size2MiB};
use crate::memory::page_table::VirtRange;
use core::fmt;

/// What the address space holds at an address: what the tables say, and the nearest thing that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressInfo {
    address: VirtAddr,
    /// `None` for an address that is not canonical, and before the kernel has its tables.
    translation: Option<Translation>,
    place: Option<Place>,
    /// Whether the heap has handed it out; `None` outside of the heap.
    handed_out: Option<bool>,
}

impl AddressInfo {
    /// Looks at the tables, and waits for nobody.
    pub(crate) fn of(address: u64) -> Self {
        let address = VirtAddr::new(address);
        let translation = live::machine().and_then(|machine| look_up(&machine, address));
        let place = regions::place_of(address).or_else(|| early_place(address));
        let in_heap = live::heap::pager().filter(|pager| pager.region().contains(address));
        let handed_out = in_heap.map(|pager| pager.is_handed_out(VirtRange::new(address, 1)));
        Self { address, translation, place, handed_out }
    }

    /// The stack whose guard page below it holds the address.
    pub(crate) fn guarded_stack(&self) -> Option<&'static str> {
        match self.place? {
            Place::GuardBelow(region) if region.is_stack() => Some(region.name),
            _ => None,
        }
    }

    fn leaf(&self) -> Option<MappedLeaf> {
        self.translation?.leaf
    }
}

/// Before there are regions, the boot stack is known.
fn early_place(address: VirtAddr) -> Option<Place> {
    let stack = BOOT_STACK.stack();
    let region =
        Region::stack("boot stack", VirtRange::new(VirtAddr::new(stack.start), stack.end - stack.start));
    let is_guard = BOOT_STACK.guard().contains(&address.as_u64());
    is_guard.then_some(Place::GuardBelow(region.guarded(PAGE_LEN, 0)))
}

impl fmt::Display for AddressInfo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.address.is_canonical() {
            return formatter.write_str("non-canonical address");
        }
        if self.address.as_u64() < NULL_GUARD_BYTES {
            return formatter.write_str("null pointer, never mapped");
        }
        match self.place {
            Some(Place::Inside(region)) => formatter.write_str(region.name)?,
            Some(Place::GuardBelow(region)) => write!(formatter, "guard page below the {}", region.name)?,
            Some(Place::GuardAbove(region)) => write!(formatter, "guard page above the {}", region.name)?,
            Some(Place::Below(region, bytes)) => {
                write!(formatter, "{bytes:#x} bytes below the {}", region.name)?
            }
            Some(Place::Above(region, bytes)) => {
                write!(formatter, "{bytes:#x} bytes above the {}", region.name)?
            }
            None => formatter.write_str("no name is known")?,
        }
        if let Some(kind) = self.translation.and_then(|translation| translation.kind) {
            formatter.write_str(match kind {
                Kind::Tracked => ", tracked",
                Kind::Mmio => ", MMIO",
                Kind::Kva => ", KVA",
            })?;
        }
        let Some(leaf) = self.leaf() else {
            return formatter.write_str(match self.handed_out {
                Some(false) => ", freed or never allocated",
                _ => ", not mapped",
            });
        };
        let not = |is: bool| if is { "" } else { "not " };
        let size = match leaf.range.len_bytes {
            PAGE_LEN => "4 KiB",
            Size2MiB::LEN_BYTES => "2 MiB",
            _ => "1 GiB",
        };
        write!(
            formatter,
            ", {}writable, {}executable, {size} page at {:#x}",
            not(leaf.writable),
            not(leaf.executable),
            leaf.phys.as_u64()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::address::PhysAddr;
    use alloc::string::ToString;

    const HEAP: Region = Region::new("heap", VirtRange::new(VirtAddr::new(0x80_0000_0000), 0x20_0000));

    fn shown(
        address: u64,
        kind: Option<Kind>,
        leaf: Option<MappedLeaf>,
        place: Option<Place>,
    ) -> alloc::string::String {
        let translation = Some(Translation { kind, leaf });
        AddressInfo { address: VirtAddr::new(address), translation, place, handed_out: None }.to_string()
    }

    #[test]
    fn what_is_mapped_is_said_with_rights_and_size() {
        let range = VirtRange::new(VirtAddr::new(0x80_0000_0000), 0x20_0000);
        let leaf = MappedLeaf { range, phys: PhysAddr::new(0x40_0000), writable: true, executable: false };
        assert_eq!(
            shown(0x80_0000_1234, Some(Kind::Tracked), Some(leaf), Some(Place::Inside(HEAP))),
            "heap, tracked, writable, not executable, 2 MiB page at 0x400000"
        );
    }

    #[test]
    fn what_is_not_mapped_is_told_by_what_is_near() {
        let kind = Some(Kind::Tracked);
        assert_eq!(
            shown(0x80_0020_0010, kind, None, Some(Place::Above(HEAP, 0x11))),
            "0x11 bytes above the heap, tracked, not mapped"
        );
        assert_eq!(
            shown(0x80_0020_0010, kind, None, Some(Place::GuardAbove(HEAP))),
            "guard page above the heap, tracked, not mapped"
        );
        assert_eq!(shown(0xffff_8000_0000_0000, None, None, None), "no name is known, not mapped");
    }

    #[test]
    fn null_and_non_canonical_addresses_are_told_apart() {
        assert_eq!(AddressInfo::of(0xffff).to_string(), "null pointer, never mapped");
        assert_eq!(AddressInfo::of(0x0000_8000_0000_0000).to_string(), "non-canonical address");
    }
}
