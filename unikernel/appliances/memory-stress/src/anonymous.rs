//! Anonymous memory of a process, mapped and unmapped by the host's kernel, to compare the guest's page tables with.

use core::ffi::c_void;
use core::num::NonZeroUsize;
use core::ptr::NonNull;
use memory_stress::churn::map::{Form, MapError, Mapper, Page, Portion};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Memory that may be mapped at a time: enough for portions of every kind.
const FREE_BYTES: u64 = 64 << 20;

/// The host's kernel.
pub(crate) struct Anonymous;

/// A mapping that there is, or will be, at an address of the kernel's choice.
pub(crate) struct Mapping {
    len: NonZeroUsize,
    start: Option<NonNull<c_void>>,
}

// SAFETY: a mapping is all there, is nobody else's, and stays until `unmap`.
unsafe impl Mapper for Anonymous {
    type Range = Mapping;

    fn free_bytes(&self) -> u64 {
        FREE_BYTES
    }

    fn takes(&self, portion: Portion) -> bool {
        // What frames a process gets, and whether they are large, is the kernel's choice.
        portion.page == Page::Small && portion.form != Form::Run
    }

    fn reserve(&self, portion: Portion) -> Result<Mapping, MapError> {
        let len = NonZeroUsize::new(portion.len_bytes() as usize).ok_or(MapError::NoRoom)?;
        Ok(Mapping { len, start: None })
    }

    fn map(&self, mapping: &mut Mapping, _: Portion) -> Result<(), MapError> {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_POPULATE;
        // SAFETY: the kernel chooses addresses at which nothing is.
        let start =
            unsafe { mmap_anonymous(None, mapping.len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) };
        mapping.start = Some(start.map_err(|_| MapError::NoRoom)?);
        Ok(())
    }

    fn word(&self, mapping: &Mapping, offset: u64) -> *mut u64 {
        let start = mapping.start.map_or(core::ptr::null_mut(), NonNull::as_ptr);
        start.wrapping_byte_add(offset as usize).cast()
    }

    fn unmap(&self, mut mapping: Mapping) -> Result<Mapping, MapError> {
        if let Some(start) = mapping.start.take() {
            // SAFETY: it is this mapping, which nobody uses any more.
            unsafe { munmap(start, mapping.len.get()) }
                .map_err(|error| MapError::Refused(format!("munmap: {error}")))?;
        }
        Ok(mapping)
    }

    fn give_back(&self, _: Mapping) -> Result<(), MapError> {
        Ok(())
    }

    fn trim(&self) -> Result<(), MapError> {
        Ok(())
    }
}
