//! Mapping by the typed core of the kernel: owned frames into an owned range of the tracked subtree.

use super::mapper::{Form, MapError, Mapper, Page, Portion};
use alloc::string::ToString;
use unikernel::memory::PAGE_LEN;
use unikernel::memory::address::VirtAddr;
use unikernel::memory::frame::{Frame, FrameBatch, FrameRun, OutOfFrames};
use unikernel::memory::page_size::{Size2MiB, Size4KiB};
use unikernel::memory::page_table::attributes::DataAccess;
use unikernel::memory::page_table::level::LeafSize;
use unikernel::memory::page_table::{Backing, Error, Machine, Rejected, Shootdown, Tracked, VaRange, flush};
use unikernel::memory::subtree::Subtree;

/// How the word at an address of a range is reached.
type Reach<M> = fn(M, &VaRange<Tracked, M>, VirtAddr) -> *mut u64;

/// The core of a machine.
pub struct TypedCore<M: Machine, B> {
    machine: M,
    shootdown: B,
    reach: Reach<M>,
}

impl<M: Machine, B: Shootdown<M>> TypedCore<M, B> {
    /// The core of this machine, with its shootdown.
    ///
    /// # Safety
    /// `reach` gives where the word at an address lies that is mapped in the range.
    pub const unsafe fn new(machine: M, shootdown: B, reach: Reach<M>) -> Self {
        Self { machine, shootdown, reach }
    }

    fn map_by<S: LeafSize>(
        &self,
        range: &mut VaRange<Tracked, M>,
        Portion { count, form, .. }: Portion,
    ) -> Result<(), MapError> {
        match form {
            Form::Single => put::<S, M, _>(range, Frame::<S, M>::allocate(self.machine)),
            Form::Run => put::<S, M, _>(range, FrameRun::<S, M>::allocate(self.machine, count)),
            Form::Batch => put::<S, M, _>(range, FrameBatch::<S, M>::allocate(self.machine, count)),
        }
    }
}

/// Maps frames, if there were any, at the start of a range.
fn put<S: LeafSize, M: Machine, F: Backing<Tracked, S, M>>(
    range: &mut VaRange<Tracked, M>,
    frames: Result<F, OutOfFrames>,
) -> Result<(), MapError> {
    let frames = frames.map_err(|_| MapError::NoRoom)?;
    range.map::<S, F>(range.range().start, frames, DataAccess::ReadWrite).map_err(refused)
}

fn refused<T>(Rejected { error, .. }: Rejected<T>) -> MapError {
    error.into()
}

impl From<Error> for MapError {
    fn from(error: Error) -> Self {
        match error {
            Error::OutOfFrames { .. } => Self::NoRoom,
            _ => Self::Refused(error.to_string()),
        }
    }
}

// SAFETY: what `map` maps belongs to the range, all of it, until `unmap`; `new` vouches for how it is reached.
unsafe impl<M: Machine, B: Shootdown<M>> Mapper for TypedCore<M, B> {
    type Range = VaRange<Tracked, M>;

    fn free_bytes(&self) -> u64 {
        self.machine.frames().statistics().free * PAGE_LEN
    }

    fn takes(&self, _: Portion) -> bool {
        true
    }

    fn reserve(&self, portion: Portion) -> Result<Self::Range, MapError> {
        Ok(Subtree::<Tracked>::reserve(self.machine, portion.len_bytes(), portion.page.len_bytes())?)
    }

    fn map(&self, range: &mut Self::Range, portion: Portion) -> Result<(), MapError> {
        match portion.page {
            Page::Small => self.map_by::<Size4KiB>(range, portion),
            Page::Large => self.map_by::<Size2MiB>(range, portion),
        }
    }

    fn word(&self, range: &Self::Range, offset: u64) -> *mut u64 {
        (self.reach)(self.machine, range, VirtAddr::new(range.range().start.as_u64() + offset))
    }

    fn unmap(&self, range: Self::Range) -> Result<Self::Range, MapError> {
        let detached = range.unmap().map_err(refused)?;
        Ok(flush(detached, &self.shootdown).release())
    }

    fn give_back(&self, range: Self::Range) -> Result<(), MapError> {
        Subtree::give_back(range).map_err(refused)
    }

    fn trim(&self) -> Result<(), MapError> {
        Subtree::<Tracked>::trim(self.machine, &self.shootdown).map_err(refused)
    }
}
