//! Host memory behind guest RAM.
//!
//! Each region is one anonymous mapping whose host address is congruent to its guest address modulo the largest page
//! size that fits into it. Only then can host and KVM use huge pages for it: a page of 2 MiB in the guest must start
//! where one starts in the host.
//!
//! Guest memory stays mapped until the process ends. One process runs one machine, the kernel frees the memory at exit
//! anyway, and a mapping that never goes away needs no proof that nobody uses it any more.

use crate::error::Error;
use crate::memory::GuestMemory;
use crate::memory::layout::{Region, backed_regions};
use crate::memory::size::MemoryLen;
use guest_interface::layout::{IMAGE_BASE, MEMORY_LEN_MIN};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestAddress, GuestRegionMmap, MmapRegion};

const HUGE_PAGE_LEN: u64 = 2 << 20;
const GIANT_PAGE_LEN: u64 = 1 << 30;

/// Maps the RAM of a machine. The memory reads as zeroes and takes host memory only where it is touched.
///
/// # Errors
/// [`Error::MapMemory`] if the host gives no address space.
pub(crate) fn map(memory: MemoryLen) -> Result<GuestMemory, Error> {
    let regions = backed_regions(memory).map(map_region).collect::<Result<Vec<_>, _>>()?;
    GuestMemory::from_regions(regions).map_err(|source| Error::MapMemory(source.into()))
}

fn map_region(region: Region) -> Result<GuestRegionMmap, Error> {
    let mapping = map_congruent(region)?;
    GuestRegionMmap::new(mapping, GuestAddress(region.start))
        .ok_or_else(|| Error::MapMemory("the region ends beyond the address space".into()))
}

/// The alignment that lets the largest pages be used which a region can hold.
const fn congruence(region: Region) -> u64 {
    if region.len_bytes >= GIANT_PAGE_LEN { GIANT_PAGE_LEN } else { HUGE_PAGE_LEN }
}

/// The part of a region that does not get huge pages: below the image is only boot data, a few pages, and clearing a huge
/// page for them would take longer than all else that is done to them.
const fn small_pages_len(region: Region) -> usize {
    if region.start == 0 { IMAGE_BASE as usize } else { 0 }
}
const _: () = assert!(IMAGE_BASE.is_multiple_of(HUGE_PAGE_LEN) && IMAGE_BASE < MEMORY_LEN_MIN);

/// How many bytes must be cut off in front of a mapping at `host` so that it starts congruent to `guest`.
const fn excess_in_front(host: u64, guest: u64, modulus: u64) -> u64 {
    guest.wrapping_sub(host) % modulus
}

/// Maps a region that is too long by the modulus, and gives back what is in front of and behind the congruent part.
fn map_congruent(region: Region) -> Result<MmapRegion, Error> {
    let failed = |source: nix::Error| Error::MapMemory(source.into());
    let modulus = congruence(region);
    let too_long = usize::try_from(region.len_bytes + modulus).ok().and_then(NonZeroUsize::new);
    let too_long = too_long.ok_or_else(|| failed(nix::Error::EOVERFLOW))?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;

    // SAFETY: 1. The kernel picks the address, so no existing mapping changes.
    let whole = unsafe { mmap_anonymous(None, too_long, protection, flags) }.map_err(failed)?;

    // Both parts are at most the modulus, so they and the region's length fit into `too_long`, a usize.
    let front_len = excess_in_front(whole.addr().get() as u64, region.start, modulus) as usize;
    let len = region.len_bytes as usize;
    // SAFETY: 2. front_len < modulus < too_long, so both pointers are inside or one past the end of the mapping of (1).
    let (start, end) = unsafe { (whole.byte_add(front_len), whole.byte_add(front_len + len)) };
    let behind_len = too_long.get() - front_len - len;

    unmap(whole, front_len).map_err(failed)?;
    unmap(end, behind_len).map_err(failed)?;
    // SAFETY: 3. start and len are the part of (1) that was kept, and the advice changes no contents.
    unsafe { madvise(start, len, MmapAdvise::MADV_DONTDUMP) }.map_err(failed)?;
    let small_len = small_pages_len(region);
    // SAFETY: 4. As (3); small_len is less than any region's length. A kernel without transparent huge pages refuses;
    // the guest then merely runs slower.
    let _ = unsafe { madvise(start.byte_add(small_len), len - small_len, MmapAdvise::MADV_HUGEPAGE) };

    let builder = MmapRegionBuilder::new(len)
        .with_mmap_prot(protection.bits())
        .with_mmap_flags((flags | MapFlags::MAP_ANONYMOUS).bits());
    // SAFETY: 5. start and len are the part of (1) that was kept: page-aligned, readable, writable, and mapped until
    // the process ends, since nothing else holds its address.
    let builder = unsafe { builder.with_raw_mmap_pointer(start.as_ptr().cast()) };
    builder.build().map_err(|source| Error::MapMemory(source.into()))
}

/// Gives back a part of a mapping of [`map_congruent`] that nothing uses.
fn unmap(start: NonNull<c_void>, len: usize) -> nix::Result<()> {
    if len == 0 {
        return Ok(());
    }
    // SAFETY: 6. Both callers pass a part of the mapping of (1) outside the region; no reference to it was ever made.
    unsafe { munmap(start, len) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::{Bytes, GuestMemoryBackend, GuestMemoryRegion};

    #[test]
    fn the_excess_makes_host_and_guest_congruent() {
        let modulus = HUGE_PAGE_LEN;
        for host in [0x7f00_0000_0000, 0x7f00_0000_1000, 0x7f00_001f_f000_u64] {
            for guest in [0, 0x10_0000, 4 << 30] {
                let front = excess_in_front(host, guest, modulus);
                assert!(front < modulus);
                assert_eq!((host + front) % modulus, guest % modulus);
            }
        }
    }

    #[test]
    fn memory_is_congruent_by_its_size_zeroed_and_ends_where_it_should() {
        for (len, modulus) in
            [(16 << 20, HUGE_PAGE_LEN), (1 << 30, GIANT_PAGE_LEN), (5 << 30, GIANT_PAGE_LEN)]
        {
            let memory = map(MemoryLen::new(len).unwrap()).unwrap();
            for region in memory.iter() {
                let host = region.as_ptr() as u64;
                assert_eq!(host % modulus, region.start_addr().0 % modulus, "{len:#x}");
                let last = GuestAddress(region.start_addr().0 + region.len() - 8);
                assert_eq!(memory.read_obj::<u64>(last).unwrap(), 0);
                memory.write_obj(u64::MAX, last).unwrap();
                assert!(memory.write_obj(0_u64, GuestAddress(last.0 + 1)).is_err());
            }
        }
    }
}
