//! KVM's memory slots: which guest-physical memory there is, what host memory is behind it, and what the guest may do to it.
//!
//! The region with the ACPI tables is a slot of its own that the guest can only read. A write there comes to the VMM like one
//! to an address without memory, and is dropped. Firmware is such a slot, too. Where KVM has none, the guest can spoil what is there,
//! which is its own. The slots beside it start and end within the first 2 MiB, which no page of
//! that size is for anyway (see [`backing`](super::backing)).

use crate::error::Error;
use crate::memory::GuestMemory;
use crate::memory::layout::{ROM, Region};
use guest_interface::layout::PAGE_LEN;
use kvm_bindings::{KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::VmFd;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, GuestRegionMmap};

/// The slots of a machine.
#[derive(Debug)]
pub(crate) struct MemorySlots {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u32,
    region: Region,
    usage: SlotUsage,
}

/// What the guest may do to the memory of a slot, and whether KVM notes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotUsage {
    Written,
    WrittenAndNoted,
    Read,
}

impl SlotUsage {
    const fn flags(self) -> u32 {
        match self {
            Self::Written => 0,
            Self::WrittenAndNoted => KVM_MEM_LOG_DIRTY_PAGES,
            Self::Read => KVM_MEM_READONLY,
        }
    }
}

/// What a machine needs of its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotDemands {
    /// That KVM can keep the guest from writing [`ROM`] and firmware, and shall. Without, the guest can write there.
    pub(crate) protects_rom: bool,
    /// That KVM notes which pages the guest writes.
    pub(crate) notes_writes: bool,
}

impl SlotDemands {
    /// What the guest may do to read-only memory.
    const fn read_only(self) -> SlotUsage {
        if self.protects_rom { SlotUsage::Read } else { SlotUsage::Written }
    }

    /// The slots for a region of backed memory, in ascending order.
    fn split(self, region: Region) -> impl Iterator<Item = (Region, SlotUsage)> {
        let ram = if self.notes_writes { SlotUsage::WrittenAndNoted } else { SlotUsage::Written };
        // Without a ROM, or with none in this region, all of it comes before one.
        let none = Region { start: region.end(), len_bytes: 0 };
        let holds_rom = region.start <= ROM.start && ROM.end() <= region.end();
        let rom = if self.protects_rom && holds_rom { ROM } else { none };
        let before = Region { start: region.start, len_bytes: rom.start - region.start };
        let behind = Region { start: rom.end(), len_bytes: region.end() - rom.end() };
        let parts = [(before, ram), (rom, SlotUsage::Read), (behind, ram)];
        parts.into_iter().filter(|(part, _)| part.len_bytes > 0)
    }
}

impl MemorySlots {
    /// Tells KVM of all memory, with the [firmware](super::firmware) if there is some.
    ///
    /// # Errors
    /// [`Error::KvmRefuses`].
    pub(crate) fn add(
        vm: &VmFd,
        memory: &GuestMemory,
        firmware: Option<&GuestRegionMmap>,
        demands: SlotDemands,
    ) -> Result<Self, Error> {
        let mut slots = Vec::new();
        let parts = memory
            .iter()
            .flat_map(|backed| demands.split(whole(backed)).map(move |(part, usage)| (backed, part, usage)));
        let parts = parts.chain(firmware.map(|mapped| (mapped, whole(mapped), demands.read_only())));
        for (number, (backed, region, usage)) in (0..).zip(parts) {
            let offset = region.start - backed.start_addr().0;
            let slot = kvm_userspace_memory_region {
                slot: number,
                flags: usage.flags(),
                guest_phys_addr: region.start,
                memory_size: region.len_bytes,
                userspace_addr: backed.as_ptr() as u64 + offset,
            };
            // SAFETY: the slot is a part of one mapping, at the same offset in guest and host, which stays until the
            // process ends (see memory::backing). Neither the parts nor the regions of guest memory overlap, and firmware is in
            // the hole between them. What the guest does to it races with no reference: the VMM reads and writes guest memory only through vm-memory's
            // volatile accesses.
            unsafe { vm.set_user_memory_region(slot) }.map_err(Error::kvm("the guest's memory"))?;
            slots.push(Slot { number, region, usage });
        }
        Ok(Self { slots })
    }

    /// Number of pages of [`PAGE_LEN`] that the guest has written since the slots were added, or last counted; `None` if
    /// that is not noted.
    ///
    /// # Errors
    /// What KVM says.
    pub(crate) fn take_written_pages(&self, vm: &VmFd) -> Result<Option<u64>, kvm_ioctls::Error> {
        let mut sum = None;
        for slot in self.slots.iter().filter(|slot| slot.usage == SlotUsage::WrittenAndNoted) {
            let bitmap = vm.get_dirty_log(slot.number, slot.region.len_bytes as usize)?;
            let pages: u64 = bitmap.iter().map(|word| u64::from(word.count_ones())).sum();
            sum = Some(sum.unwrap_or(0) + pages.min(slot.region.len_bytes / PAGE_LEN));
        }
        Ok(sum)
    }
}

fn whole(mapped: &GuestRegionMmap) -> Region {
    Region { start: mapped.start_addr().0, len_bytes: mapped.len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::layout::backed_regions;
    use crate::memory::size::MemoryLen;
    use guest_interface::layout::MEMORY_LEN_MIN;

    const PROTECTED: SlotDemands = SlotDemands { protects_rom: true, notes_writes: false };

    fn slots(demands: SlotDemands, len_bytes: u64) -> Vec<(u64, u64, SlotUsage)> {
        let regions = backed_regions(MemoryLen::new(len_bytes).unwrap());
        let slots = regions.flat_map(|region| demands.split(region));
        slots.map(|(region, usage)| (region.start, region.end(), usage)).collect()
    }

    #[test]
    fn the_rom_is_cut_out_of_the_first_region() {
        use SlotUsage::{Read, Written, WrittenAndNoted};
        let expected = [
            (0, 0xe_0000, Written),
            (0xe_0000, 0x10_0000, Read),
            (0x10_0000, 0xc000_0000, Written),
            (0x1_0000_0000, 0x1_4000_0000, Written),
        ];
        assert_eq!(slots(PROTECTED, 4 << 30), expected);
        let noted = slots(SlotDemands { notes_writes: true, ..PROTECTED }, 16 << 20);
        let expected = [
            (0, 0xe_0000, WrittenAndNoted),
            (0xe_0000, 0x10_0000, Read),
            (0x10_0000, 16 << 20, WrittenAndNoted),
        ];
        assert_eq!(noted, expected);
    }

    #[test]
    fn without_protection_a_region_is_one_slot() {
        let demands = SlotDemands { protects_rom: false, notes_writes: false };
        let expected =
            [(0, 0xc000_0000, SlotUsage::Written), (0x1_0000_0000, 0x1_4000_0000, SlotUsage::Written)];
        assert_eq!(slots(demands, 4 << 30), expected);
    }

    #[test]
    fn slots_are_all_of_memory_in_order() {
        for len_bytes in [MEMORY_LEN_MIN, 1 << 30, 6 << 30] {
            let slots = slots(PROTECTED, len_bytes);
            assert_eq!(slots.iter().map(|(start, end, _)| end - start).sum::<u64>(), len_bytes);
            assert!(slots.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{slots:x?}");
        }
    }
}
