//! The address space: the root table, and which of its slots belong to which kind. The only place where the kinds meet.

use super::PAGE_LEN;
use super::address::PhysAddr;
use super::atomic::{AtomicUsize, Ordering};
use super::frame::{FrameRun, FrameState, OutOfFrames};
use super::kind::Kind;
use super::page_size::Size4KiB;
use super::page_table::level::ENTRIES;
use super::page_table::{EntryCell, Kva, Mmio, Ownership, TableMemory, Tracked};
use super::subtree::Subtree;

/// Root slots that follow each other: 512 GiB each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRange {
    /// Whose they are.
    pub kind: Kind,
    /// The first.
    pub first: usize,
    /// Behind the last.
    pub end: usize,
}

const fn slots(kind: Kind, first: usize, end: usize) -> SlotRange {
    SlotRange { kind, first, end }
}

/// First slot of the upper half of the address space. KVM_PVM keeps it to itself.
pub const FIRST_UPPER_SLOT: usize = 256;

/// Which root slots belong to which kind; the others stay empty.
pub const SLOT_MAP: [SlotRange; 4] = [
    slots(Kind::Kva, 0, 1),       // The kernel image, which is linked to low addresses.
    slots(Kind::Tracked, 1, 256), // Application heap: 127.5 TiB.
    slots(Kind::Mmio, 257, 320),  // Device registers.
    slots(Kind::Kva, 320, 512),   // All of RAM, stacks, metadata, pages shared with the host: 96 TiB.
];

/// What of the first slot is never mapped, so that null pointers, and what is near, fault.
pub const NULL_GUARD_BYTES: u64 = 0x1_0000;

/// What is wrong with a slot map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BadSlotMap {
    Empty,
    OutOfRoot,
    OutOfOrderOrShared,
    CrossesHalves,
    TakenByHost,
}

/// Checks that ranges are in order, disjoint, whole in one half, and leave the host's slot alone.
const fn check(map: &[SlotRange]) -> Option<BadSlotMap> {
    let mut index = 0;
    let mut free_from = 0;
    while index < map.len() {
        let SlotRange { first, end, .. } = map[index];
        if first >= end {
            return Some(BadSlotMap::Empty);
        } else if end > ENTRIES {
            return Some(BadSlotMap::OutOfRoot);
        } else if first < free_from {
            return Some(BadSlotMap::OutOfOrderOrShared);
        } else if first <= FIRST_UPPER_SLOT && FIRST_UPPER_SLOT < end {
            return Some(if first == FIRST_UPPER_SLOT {
                BadSlotMap::TakenByHost
            } else {
                BadSlotMap::CrossesHalves
            });
        }
        free_from = end;
        index += 1;
    }
    None
}

const _: () = assert!(check(&SLOT_MAP).is_none(), "the slot map is wrong");

/// Whose the root slot is, if anybody's.
#[must_use]
pub fn kind_of_slot(slot: usize) -> Option<Kind> {
    SLOT_MAP.iter().find(|range| (range.first..range.end).contains(&slot)).map(|range| range.kind)
}

/// The root table, and the free addresses of each kind.
pub struct AddressSpace {
    root: PhysAddr,
    id: SpaceId,
    tracked: Subtree<Tracked>,
    mmio: Subtree<Mmio>,
    kva: Subtree<Kva>,
    detached: AtomicUsize,
}

/// The right over an address space that no CPU has ever loaded: what is taken out of it needs no flush. Never cloned.
#[derive(Debug)]
pub struct Inactive {
    root: PhysAddr,
    id: SpaceId,
}

/// Tells address spaces apart, also those of machines with the same layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpaceId(u64);

impl SpaceId {
    fn next() -> Self {
        // Not the model checker's: nothing is ordered by it.
        static NEXT: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);
        Self(NEXT.fetch_add(1, core::sync::atomic::Ordering::Relaxed))
    }
}

impl AddressSpace {
    /// An empty address space, once a machine. It keeps its root for ever; the audit takes that of a second one for lost.
    ///
    /// # Errors
    /// [`OutOfFrames`].
    pub fn new<T: TableMemory>(memory: T) -> Result<(Self, Inactive), OutOfFrames> {
        let root = if memory.paging().root_in_odd_frame {
            Self::odd_frame(memory)?
        } else {
            Self::any_frame(memory)?
        };
        memory.frames().set_state(root.frame_number(), FrameState::Root);
        // SAFETY: the frame was allocated to become this table.
        for cell in unsafe { memory.table(root) } {
            cell.store(0, Ordering::Relaxed);
        }
        let id = SpaceId::next();
        let space = Self {
            root,
            id,
            tracked: Subtree::new(),
            mmio: Subtree::new(),
            kva: Subtree::new(),
            detached: AtomicUsize::new(0),
        };
        Ok((space, Inactive { root, id }))
    }

    fn any_frame<T: TableMemory>(memory: T) -> Result<PhysAddr, OutOfFrames> {
        Ok(FrameRun::<Size4KiB, T>::allocate(memory, 1)?.into_raw())
    }

    /// Of two neighbours one is odd; the other goes back.
    fn odd_frame<T: TableMemory>(memory: T) -> Result<PhysAddr, OutOfFrames> {
        let (first, rest) = FrameRun::<Size4KiB, T>::allocate(memory, 2)?.split_first();
        let is_odd = |address: PhysAddr| address.as_u64() & PAGE_LEN != 0;
        match rest {
            Some(second) if is_odd(second.start()) => Ok(second.into_raw()),
            _ => Ok(first.into_raw()),
        }
    }

    /// Physical address of the root table.
    #[must_use]
    #[inline]
    pub const fn root(&self) -> PhysAddr {
        self.root
    }

    #[inline]
    pub(crate) const fn id(&self) -> SpaceId {
        self.id
    }

    /// The subtree of kind `O`.
    #[must_use]
    #[inline]
    pub fn subtree<O: Placed>(&self) -> &Subtree<O> {
        O::subtree_of(self)
    }

    /// How many [`Detached`](super::page_table::Detached) that hold something were not released yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.detached.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn count_detached(&self) {
        self.detached.fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn count_released(&self) {
        self.detached.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inactive {
    pub(crate) const fn id(&self) -> SpaceId {
        self.id
    }

    /// Gives the right up: the root may be loaded into CR3 from now on.
    #[must_use]
    pub const fn activate(self) -> PhysAddr {
        self.root
    }
}

/// A kind with a place in the address space.
pub trait Placed: Ownership {
    /// Its subtree.
    fn subtree_of(space: &AddressSpace) -> &Subtree<Self>;
}

macro_rules! placed {
    ($kind:ident, $field:ident) => {
        impl Placed for $kind {
            #[inline]
            fn subtree_of(space: &AddressSpace) -> &Subtree<Self> {
                &space.$field
            }
        }
    };
}

placed!(Tracked, tracked);
placed!(Mmio, mmio);
placed!(Kva, kva);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flaw_of_a_slot_map_is_found() {
        let mmio = |first, end| slots(Kind::Mmio, first, end);
        let kva = |first, end| slots(Kind::Kva, first, end);
        for (map, flaw) in [
            ([kva(0, 1), mmio(1, 2)], None),
            ([kva(0, 2), mmio(1, 3)], Some(BadSlotMap::OutOfOrderOrShared)),
            ([kva(5, 6), mmio(1, 2)], Some(BadSlotMap::OutOfOrderOrShared)),
            ([kva(0, 1), mmio(3, 3)], Some(BadSlotMap::Empty)),
            ([kva(0, 1), mmio(511, 513)], Some(BadSlotMap::OutOfRoot)),
            ([kva(0, 1), mmio(255, 258)], Some(BadSlotMap::CrossesHalves)),
            ([kva(0, 1), mmio(256, 258)], Some(BadSlotMap::TakenByHost)),
        ] {
            assert_eq!(check(&map), flaw, "{map:?}");
        }
    }

    #[test]
    fn every_slot_has_at_most_one_kind() {
        assert_eq!(kind_of_slot(0), Some(Kind::Kva));
        assert_eq!(kind_of_slot(1), Some(Kind::Tracked));
        assert_eq!(kind_of_slot(255), Some(Kind::Tracked));
        assert_eq!(kind_of_slot(FIRST_UPPER_SLOT), None);
        assert_eq!(kind_of_slot(511), Some(Kind::Kva));
        for slot in 0..ENTRIES {
            assert!(SLOT_MAP.iter().filter(|range| (range.first..range.end).contains(&slot)).count() < 2);
        }
    }
}
