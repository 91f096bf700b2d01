//! What an application does when an allocation fails.

use core::alloc::Layout;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// What a handler has achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// It has freed something: the allocation is to be tried again.
    Retry,
    /// There is nothing to be done: the allocation fails.
    Fail,
}

/// Called with what could not be allocated.
pub type OutOfMemoryHandler = fn(Layout) -> AfterFailure;

/// How often an allocation is tried again at most, so that a handler that frees nothing does not hold the machine up.
const RETRIES_MAX: u32 = 16;

/// The handler, or null.
static HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// Whether it runs: what it allocates itself fails without it.
static RUNS: AtomicBool = AtomicBool::new(false);

/// Has `handler` called before an allocation fails; `None` for nobody. It may free memory, and allocate, of what is left;
/// the heap is not locked meanwhile. An allocation in it that fails does so without another call. It is called for those who
/// take an error for an answer, too, and at most 16 times for one allocation.
///
/// ```no_run
/// use core::alloc::Layout;
/// use unikernel::heap::{AfterFailure, set_out_of_memory_handler};
///
/// fn drop_caches(_: Layout) -> AfterFailure {
///     // … free something that can be had again; say `Fail` when there is no more of it.
///     AfterFailure::Fail
/// }
/// set_out_of_memory_handler(Some(drop_caches));
/// ```
pub fn set_out_of_memory_handler(handler: Option<OutOfMemoryHandler>) {
    let handler = handler.map_or(core::ptr::null_mut(), |handler| handler as *mut ());
    HANDLER.store(handler, Ordering::Release);
}

/// Tries an allocation that has failed again, as long as the handler says so.
#[cold]
#[inline(never)]
pub(super) fn try_again(layout: Layout, mut allocate: impl FnMut() -> *mut u8) -> *mut u8 {
    let handler = HANDLER.load(Ordering::Acquire);
    if handler.is_null() || RUNS.swap(true, Ordering::Acquire) {
        return core::ptr::null_mut();
    }
    // SAFETY: not null, so it was stored as a function of this very type.
    let handler = unsafe { core::mem::transmute::<*mut (), OutOfMemoryHandler>(handler) };
    let mut block = core::ptr::null_mut();
    for _ in 0..RETRIES_MAX {
        if handler(layout) == AfterFailure::Fail {
            break;
        }
        block = allocate();
        if !block.is_null() {
            break;
        }
    }
    RUNS.store(false, Ordering::Release);
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    /// One test, as the handler is one for all.
    #[test]
    fn an_allocation_is_tried_again_as_long_as_the_handler_says_but_not_for_ever() {
        let layout = Layout::new::<u64>();
        let mut word = 0_u64;
        let block: *mut u8 = (&raw mut word).cast();
        let calls = Cell::new(0);
        let after = |tries: u32| {
            calls.set(0);
            try_again(layout, || {
                calls.set(calls.get() + 1);
                // What a handler allocates fails without it.
                assert!(try_again(layout, || unreachable!("the handler runs")).is_null());
                if calls.get() < tries { core::ptr::null_mut() } else { block }
            })
        };
        assert!(after(1).is_null(), "there is no handler");
        set_out_of_memory_handler(Some(|_| AfterFailure::Retry));
        assert_eq!((after(3), calls.get()), (block, 3));
        assert!(after(u32::MAX).is_null());
        assert_eq!(calls.get(), RETRIES_MAX);
        set_out_of_memory_handler(Some(|_| AfterFailure::Fail));
        assert!(after(1).is_null() && calls.get() == 0);
        set_out_of_memory_handler(None);
        assert!(after(1).is_null() && calls.get() == 0);
    }
}
