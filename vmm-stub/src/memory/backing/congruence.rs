//! Address space for a region of guest memory, and the memory that takes its place.
//!
//! Its host address is congruent to its guest address modulo the largest page size that fits into the region. Only then
//! can host and KVM use huge pages for it: a page of 2 MiB in the guest must start where one starts in the host.

use super::HUGE_PAGE_LEN;
use crate::memory::layout::Region;
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr::NonNull;
use vm_memory::MmapRegion;
use vm_memory::mmap::{MmapRegionBuilder, MmapRegionError};

const GIANT_PAGE_LEN: u64 = 1 << 30;
const PROTECTION: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

/// Address space of this process that nothing lies at and nothing uses: one inaccessible mapping, there to be replaced.
/// It is never given back.
#[derive(Debug)]
#[must_use]
pub(super) struct Reservation {
    start: NonNull<c_void>,
    len: NonZeroUsize,
}

impl Reservation {
    /// Reserves as many bytes as the region has, congruent to it.
    ///
    /// # Errors
    /// What the kernel says if there is no such address space.
    pub(super) fn new(region: Region) -> nix::Result<Self> {
        let modulus = congruence(region);
        let fitting =
            |len: u64| usize::try_from(len).ok().and_then(NonZeroUsize::new).ok_or(Errno::EOVERFLOW);
        let (len, too_long) = (fitting(region.len_bytes)?, fitting(region.len_bytes + modulus)?);
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: 1. The kernel picks the address, so no existing mapping changes.
        let whole = unsafe { mmap_anonymous(None, too_long, ProtFlags::PROT_NONE, flags) }?;

        // Less than the modulus, so it and the region's length fit into `too_long`, a usize.
        let front_len = excess_in_front(whole.addr().get() as u64, region.start, modulus) as usize;
        // SAFETY: 2. front_len < modulus, so both pointers are inside or one past the end of the mapping of (1).
        let (start, end) = unsafe { (whole.byte_add(front_len), whole.byte_add(front_len + len.get())) };
        unmap(whole, front_len)?;
        unmap(end, too_long.get() - front_len - len.get())?;
        Ok(Self { start, len })
    }

    /// Puts memory in its place, as flags of mmap(2) say, which reads as zeroes and can be read and written.
    ///
    /// # Errors
    /// What the kernel says. The address space may then be free or not.
    pub(super) fn replace(self, flags: MapFlags) -> nix::Result<Mapping> {
        let Self { start, len } = self;
        // SAFETY: 3. What is replaced is the mapping of a reservation, all of it. Nothing uses it, and the reservation ends
        // here, so nothing will replace the memory in turn.
        unsafe { mmap_anonymous(Some(start.addr()), len, PROTECTION, flags | MapFlags::MAP_FIXED) }?;
        Ok(Mapping { start, len, flags: flags | MapFlags::MAP_ANONYMOUS })
    }
}

/// Memory of this process, page-aligned, readable and writable, which stays until the process ends: nothing unmaps it.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<c_void>,
    len: NonZeroUsize,
    flags: MapFlags,
}

impl Mapping {
    /// All of its bytes.
    pub(super) const fn whole(&self) -> Range<usize> {
        0..self.len.get()
    }

    /// Gives the kernel an advice on a part of the bytes.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Panics
    /// If the part is empty or not in the mapping.
    pub(super) fn advise(&self, part: Range<usize>, advice: Advice) -> nix::Result<()> {
        assert!(part.start < part.end && part.end <= self.len.get(), "{part:?} of {}", self.len);
        // SAFETY: 4. A part of this mapping by the assertion, and no Advice changes contents.
        unsafe { madvise(self.start.byte_add(part.start), part.len(), advice.into()) }
    }

    /// The mapping as vm-memory has it.
    ///
    /// # Errors
    /// What vm-memory says.
    pub(super) fn into_region(self) -> Result<MmapRegion, MmapRegionError> {
        // SAFETY: 5. What a builder asks of a mapping is what is true of every Mapping.
        let builder = unsafe {
            MmapRegionBuilder::new(self.len.get())
                .with_mmap_prot(PROTECTION.bits())
                .with_mmap_flags(self.flags.bits())
                .with_raw_mmap_pointer(self.start.as_ptr().cast())
        };
        builder.build()
    }
}

/// Advices of madvise(2) that change no contents.
#[derive(Clone, Copy, Debug)]
pub(super) enum Advice {
    NoDump,
    SmallPages,
    HugePages,
    TakeAll,
}

impl From<Advice> for MmapAdvise {
    fn from(advice: Advice) -> Self {
        match advice {
            Advice::NoDump => Self::MADV_DONTDUMP,
            Advice::SmallPages => Self::MADV_NOHUGEPAGE,
            Advice::HugePages => Self::MADV_HUGEPAGE,
            Advice::TakeAll => Self::MADV_POPULATE_WRITE,
        }
    }
}

/// The alignment that lets the largest pages be used which a region can hold.
const fn congruence(region: Region) -> u64 {
    if region.len_bytes >= GIANT_PAGE_LEN { GIANT_PAGE_LEN } else { HUGE_PAGE_LEN }
}

/// How many bytes must be cut off in front of a mapping at `host` so that it starts congruent to `guest`.
const fn excess_in_front(host: u64, guest: u64, modulus: u64) -> u64 {
    guest.wrapping_sub(host) % modulus
}

/// Gives back a part of a mapping of [`Reservation::new`] that is not kept.
fn unmap(start: NonNull<c_void>, len: usize) -> nix::Result<()> {
    if len == 0 {
        return Ok(());
    }
    // SAFETY: 6. Both callers pass a part of the mapping of (1) that is not kept, in the small pages it is made of; no
    // reference to it was ever made.
    unsafe { munmap(start, len) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn address_space_is_congruent_by_its_length() {
        for (start, len_bytes, modulus) in [
            (0, 16 << 20, HUGE_PAGE_LEN),
            (0, 1 << 30, GIANT_PAGE_LEN),
            (4 << 30, (1 << 30) + 4096, GIANT_PAGE_LEN),
            (0x12_3000, 8 << 20, HUGE_PAGE_LEN),
        ] {
            let reserved = Reservation::new(Region { start, len_bytes }).unwrap();
            assert_eq!(reserved.start.addr().get() as u64 % modulus, start % modulus, "{start:#x}");
            assert_eq!(reserved.len.get() as u64, len_bytes);
        }
    }

    #[test]
    fn more_than_there_is_of_it_is_refused() {
        assert_eq!(Reservation::new(Region { start: 0, len_bytes: 1 << 50 }).unwrap_err(), Errno::ENOMEM);
    }
}
