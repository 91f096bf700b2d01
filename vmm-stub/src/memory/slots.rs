//! KVM's memory slots: which guest-physical memory there is, and what host memory is behind it.

use crate::error::Error;
use crate::memory::GuestMemory;
use crate::memory::layout::Region;
use guest_interface::layout::PAGE_LEN;
use kvm_bindings::{KVM_MEM_LOG_DIRTY_PAGES, kvm_userspace_memory_region};
use kvm_ioctls::VmFd;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

/// The slots of a machine.
#[derive(Debug)]
pub(crate) struct MemorySlots {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u32,
    region: Region,
    logs_writes: bool,
}

impl Slot {
    const fn flags(&self) -> u32 {
        if self.logs_writes { KVM_MEM_LOG_DIRTY_PAGES } else { 0 }
    }
}

impl MemorySlots {
    /// Tells KVM of all memory. With `log_writes` it notes which pages the guest writes.
    ///
    /// # Errors
    /// [`Error::KvmRefuses`].
    pub(crate) fn add(vm: &VmFd, memory: &GuestMemory, log_writes: bool) -> Result<Self, Error> {
        let mut slots = Vec::new();
        for (number, region) in (0..).zip(memory.iter()) {
            let region_of_slot = Region { start: region.start_addr().0, len_bytes: region.len() };
            let slot = Slot { number, region: region_of_slot, logs_writes: log_writes };
            let told = kvm_userspace_memory_region {
                slot: slot.number,
                flags: slot.flags(),
                guest_phys_addr: slot.region.start,
                memory_size: slot.region.len_bytes,
                userspace_addr: region.as_ptr() as u64,
            };
            // SAFETY: the region is one mapping of exactly this address and length, which stays until the process ends
            // (see memory::backing), and regions of guest memory don't overlap. What the guest does to it races with no
            // reference: the VMM reads and writes guest memory only through vm-memory's volatile accesses.
            unsafe { vm.set_user_memory_region(told) }.map_err(Error::kvm("the guest's memory"))?;
            slots.push(slot);
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
        for slot in self.slots.iter().filter(|slot| slot.logs_writes) {
            let bitmap = vm.get_dirty_log(slot.number, slot.region.len_bytes as usize)?;
            let pages: u64 = bitmap.iter().map(|word| u64::from(word.count_ones())).sum();
            sum = Some(sum.unwrap_or(0) + pages.min(slot.region.len_bytes / PAGE_LEN));
        }
        Ok(sum)
    }
}
