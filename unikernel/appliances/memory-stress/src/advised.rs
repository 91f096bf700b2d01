//! Anonymous memory of a process whose pages are as long as the host's kernel was advised, to compare the guest's page faults
//! with.

use core::ffi::c_void;
use core::num::NonZeroUsize;
use core::ptr::NonNull;
use memory_stress::churn::fault::DemandMemory;
use memory_stress::churn::map::{MapError, Page};
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use nix::sys::resource::{UsageWho, getrusage};

/// The host's kernel.
pub(crate) struct Advised;

/// A mapping with room for aligning the memory in it.
pub(crate) struct Mapping {
    whole: NonNull<c_void>,
    whole_len: usize,
    start: NonNull<c_void>,
    len: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is this mapping, which nobody uses any more.
        let unmapped = unsafe { munmap(self.whole, self.whole_len) };
        // Nothing takes parts of it away, so there is nothing to refuse.
        debug_assert_eq!(unmapped, Ok(()));
    }
}

fn advise(mapping: &Mapping, advice: MmapAdvise) -> Result<(), MapError> {
    // SAFETY: the memory is the mapping's own, and whoever has it gives it away where the advice does.
    unsafe { madvise(mapping.start, mapping.len, advice) }.map_err(|error| match error {
        Errno::ENOMEM | Errno::EAGAIN => MapError::NoRoom,
        _ => MapError::Refused(format!("{advice:?}: {error}")),
    })
}

// SAFETY: a mapping is all there and nobody else's until it is dropped.
unsafe impl DemandMemory for Advised {
    type Buffer = Mapping;

    fn settled_free_bytes(&self) -> Option<u64> {
        None
    }

    fn reserve(&self, page: Page, len_bytes: usize) -> Result<Mapping, MapError> {
        let align = page.len_bytes() as usize;
        let whole_len = NonZeroUsize::new(len_bytes + align).ok_or(MapError::NoRoom)?;
        let (rights, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
        // SAFETY: the kernel chooses addresses at which nothing is.
        let whole =
            unsafe { mmap_anonymous(None, whole_len, rights, flags) }.map_err(|_| MapError::NoRoom)?;
        let lead = whole.as_ptr().cast::<u8>().align_offset(align);
        // SAFETY: the mapping is longer than the memory by a page.
        let start = unsafe { whole.byte_add(lead) };
        let mapping = Mapping { whole, whole_len: whole_len.get(), start, len: len_bytes };
        let advice = match page {
            Page::Small => MmapAdvise::MADV_NOHUGEPAGE,
            Page::Large => MmapAdvise::MADV_HUGEPAGE,
        };
        match advise(&mapping, advice) {
            // A kernel that knows no huge pages has none to be advised about; what came is looked at.
            Err(MapError::Refused(_)) => Ok(mapping),
            done => done.map(|()| mapping),
        }
    }

    fn start(&self, mapping: &mut Mapping) -> *mut u8 {
        mapping.start.as_ptr().cast()
    }

    fn prefault(&self, mapping: &mut Mapping) -> Result<(), MapError> {
        match advise(mapping, MmapAdvise::MADV_POPULATE_WRITE) {
            // Kernels before Linux 5.14 do not know it.
            Err(MapError::Refused(_)) => Err(MapError::NoRoom),
            done => done,
        }
    }

    fn give_back(&self, mapping: &mut Mapping) -> Result<(), MapError> {
        advise(mapping, MmapAdvise::MADV_DONTNEED)
    }

    fn reserve_again(&self, _: &mut Mapping) -> Result<(), MapError> {
        // What was given back comes again when it is touched.
        Ok(())
    }

    fn faults(&self) -> u64 {
        getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.minor_page_faults() as u64)
    }

    fn large_pages(&self) -> u64 {
        // proc_pid_smaps(5): a line for each kind of memory, in KiB.
        let memory = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
        let kib = memory.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
        let kib = kib.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024 / Page::Large.len_bytes()
    }
}
