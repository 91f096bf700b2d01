//! Pages of the guest's heap, which come by page faults and go back with their frames.

use alloc::string::ToString;
use memory_stress::churn::fault::DemandMemory;
use memory_stress::churn::map::{MapError, Page};
use unikernel::heap::{self, Pages, PagesError};
use unikernel::memory::PAGE_LEN;
use unikernel::memory::frame::FrameSource;
use unikernel::memory::live;

/// The heap.
pub(crate) struct HeapPages;

fn told(error: PagesError) -> MapError {
    match error {
        PagesError::OutOfMemory { .. } => MapError::NoRoom,
        error => MapError::Refused(error.to_string()),
    }
}

// SAFETY: all of `Pages` is handed out to it, but for what it gave back and has not reserved again.
unsafe impl DemandMemory for HeapPages {
    type Buffer = Pages;

    fn settled_free_bytes(&self) -> Option<u64> {
        heap::trim();
        let frames = live::machine()?.frames().statistics();
        Some((frames.free - frames.promised) * PAGE_LEN)
    }

    fn reserve(&self, page: Page, len_bytes: usize) -> Result<Pages, MapError> {
        // The heap maps by large pages what is as long as one, and nothing else.
        let is_large = len_bytes as u64 >= Page::Large.len_bytes();
        if is_large != (page == Page::Large) {
            return Err(MapError::Refused("no buffer of this length has such pages".to_string()));
        }
        Pages::reserve(len_bytes).map_err(told)
    }

    fn start(&self, pages: &mut Pages) -> *mut u8 {
        pages.as_mut_ptr()
    }

    fn prefault(&self, pages: &mut Pages) -> Result<(), MapError> {
        pages.prefault(0..pages.len_bytes()).map_err(told)
    }

    fn give_back(&self, pages: &mut Pages) -> Result<(), MapError> {
        let all = 0..pages.len_bytes();
        match pages.give_back(all.clone()) {
            gone if gone == all => Ok(()),
            gone => Err(MapError::Refused(alloc::format!("of {all:?} only {gone:?} went back"))),
        }
    }

    fn reserve_again(&self, pages: &mut Pages) -> Result<(), MapError> {
        pages.reserve_again(0..pages.len_bytes()).map_err(told)
    }

    fn faults(&self) -> u64 {
        let faults = heap::statistics().faults;
        faults.small + faults.large
    }

    fn large_pages(&self) -> u64 {
        heap::statistics().mapped.large
    }
}
