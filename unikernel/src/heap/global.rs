//! The global allocator: the machine's heap, and the application's handler where that fails.

use super::out_of_memory::try_again;
use crate::memory::live::heap::HEAP;
use core::alloc::{GlobalAlloc, Layout};

struct Global;

#[cfg_attr(target_os = "none", global_allocator)]
static GLOBAL: Global = Global;

/// Has the application's handler make room, and tries again. A failure is the heap's latest, whatever the handler has tried.
#[cold]
#[inline(never)]
fn again(layout: Layout, allocate: impl FnMut() -> *mut u8) -> *mut u8 {
    let block = try_again(layout, allocate);
    if block.is_null() {
        HEAP.note_failure(layout);
    }
    block
}

// SAFETY: the heap's own promise; a block is the first attempt's or a later one's.
unsafe impl GlobalAlloc for Global {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, here and in the others.
        let allocate = || unsafe { HEAP.alloc(layout) };
        let block = allocate();
        if block.is_null() { again(layout, allocate) } else { block }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { HEAP.dealloc(block, layout) };
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let allocate = || unsafe { HEAP.alloc_zeroed(layout) };
        let block = allocate();
        if block.is_null() { again(layout, allocate) } else { block }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as above; a block that could not be resized is as it was.
        let reallocate = || unsafe { HEAP.realloc(block, layout, new_size) };
        let moved = reallocate();
        if !moved.is_null() {
            return moved;
        }
        // SAFETY: the caller promises that the size does not overflow when rounded up to the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        again(wanted, reallocate)
    }
}
