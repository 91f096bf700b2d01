//! Simulated RAM: one mapping of the process in huge pages, touched before anything is timed.
//!
//! A physical address is the offset from the mapping's start. The start is a constant, so that going from a physical
//! address to a pointer costs every contestant one addition, as it does in a kernel with a linear window.

use crate::Result;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};
use std::fs;
use std::num::NonZeroUsize;
use std::ops::Range;

/// Bytes of a 4 KiB page.
pub(crate) const PAGE: u64 = 4 << 10;
/// Bytes of a 2 MiB page.
pub(crate) const HUGE_PAGE: u64 = 2 << 20;

/// Where the mapping starts: far from what the loader, the heap and the stacks use.
const BASE: usize = 0x2000_0000_0000;
const LEN: u64 = 2 << 30;

/// All RAM there is to own. Physical page 0 is nobody's; the rest of its 2 MiB goes with it.
pub(crate) const RAM: Range<u64> = HUGE_PAGE..LEN;
/// Frames for the nodes of one table: twice what 1 GiB of 4 KiB leaves needs.
pub(crate) const NODES: Range<u64> = HUGE_PAGE..HUGE_PAGE + 1024 * PAGE;
/// What frame allocators manage, and tables map that own what they map: 1 GiB in one piece, aligned to its size.
pub(crate) const FRAMES: Range<u64> = 1 << 30..LEN;

/// The proof that the mapping stands. It does to the end of the process.
#[derive(Clone, Copy)]
pub(crate) struct Arena(());

impl Arena {
    /// Maps and touches the memory.
    ///
    /// # Errors
    ///
    /// When the host has no such memory, or something else lies there.
    pub(crate) fn map() -> Result<Self> {
        let start = NonZeroUsize::new(BASE).ok_or("the arena starts at 0")?;
        let len = NonZeroUsize::new(LEN as usize).ok_or("the arena is empty")?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE | MapFlags::MAP_FIXED_NOREPLACE;
        // SAFETY: the mapping is new and replaces none (MAP_FIXED_NOREPLACE), so no object of this process lies in it.
        let memory =
            unsafe { mmap_anonymous(Some(start), len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }
                .map_err(|error| format!("mapping {LEN} bytes at {BASE:#x}: {error}"))?;
        if memory.as_ptr() as usize != BASE {
            return Err(format!("asked for memory at {BASE:#x}, got {memory:p}").into());
        }
        // SAFETY: the range was mapped above; the advice changes neither its content nor its protection.
        unsafe { madvise(memory, len.get(), MmapAdvise::MADV_HUGEPAGE) }
            .map_err(|error| format!("asking for huge pages: {error}"))?;
        let arena = Self(());
        for phys in (0..LEN).step_by(PAGE as usize) {
            // SAFETY: `phys` lies in the mapping and is aligned; nothing else uses the memory yet.
            unsafe { arena.pointer(phys).write_volatile(1) };
        }
        Ok(arena)
    }

    /// Where the memory at a physical address is to be found.
    #[inline]
    pub(crate) fn pointer(self, phys: u64) -> *mut u64 {
        pointer(phys)
    }

    /// One line on the memory: its size, and how much of it the host backs by huge pages.
    pub(crate) fn describe(self) -> Result<String> {
        let maps = fs::read_to_string("/proc/self/smaps")?;
        let huge_kib =
            maps.lines().skip_while(|line| !line.starts_with(&format!("{BASE:x}-"))).find_map(|line| {
                line.strip_prefix("AnonHugePages:")?.strip_suffix("kB")?.trim().parse::<u64>().ok()
            });
        let huge = huge_kib.map_or("an unknown part".to_owned(), |kib| format!("{} MiB", kib >> 10));
        Ok(format!("{} MiB of simulated RAM, {huge} of it in huge pages", LEN >> 20))
    }
}

/// [`Arena::pointer`] for functions that a peer calls without a receiver, which happens only where there is an arena.
#[inline]
pub(crate) fn pointer(phys: u64) -> *mut u64 {
    debug_assert!(phys < LEN, "physical address {phys:#x} is beyond {LEN:#x} bytes of RAM");
    std::ptr::with_exposed_provenance_mut(BASE + phys as usize)
}
