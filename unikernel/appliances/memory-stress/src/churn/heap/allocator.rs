//! The seam to the allocator: the global one, or in tests one that spoils blocks or refuses.

use crate::churn::figure::Room;
use alloc::alloc::{alloc, dealloc, realloc};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;

/// What blocks are aligned to: words are written into them.
const ALIGN: usize = align_of::<u64>();
/// How exactly the largest block is searched for.
const STEP: u64 = 4096;

/// An allocator of blocks.
///
/// # Safety
/// 1. A block that is handed out is memory of that many bytes, aligned for words, that nobody else uses until it is freed or
///    resized.
/// 2. A block that was resized holds what it did, as far as both lengths reach; one whose resizing was refused is as it was.
pub unsafe trait Allocator {
    /// A block of so many bytes, at least one; `None` if there is no room.
    fn allocate(&self, len: usize) -> Option<NonNull<u8>>;

    /// Makes a block longer or shorter, at another address if need be; `None` if there is no room.
    ///
    /// # Safety
    /// The block is of this allocator and has `len` bytes; `new_len` is not 0. If it is not refused, the old block is gone.
    unsafe fn resize(&self, block: NonNull<u8>, len: usize, new_len: usize) -> Option<NonNull<u8>>;

    /// Frees a block.
    ///
    /// # Safety
    /// It is of this allocator, has `len` bytes, and is not used again.
    unsafe fn free(&self, block: NonNull<u8>, len: usize);

    /// Makes room for one more element in a vector, as pushing does. Says whether there was any.
    fn grow(&self, vector: &mut Vec<u64>) -> bool;

    /// Bytes that are free, in however many pieces.
    fn free_bytes(&self) -> u64;

    /// What is free, and the largest block that can be allocated of it.
    fn room(&self) -> Room {
        let free_bytes = self.free_bytes();
        let (mut fits, mut refused) = (0, free_bytes / STEP + 1);
        while refused - fits > 1 {
            let middle = fits.midpoint(refused);
            let len = (middle * STEP) as usize;
            match self.allocate(len) {
                Some(block) => {
                    // SAFETY: just allocated, and nobody has it.
                    unsafe { self.free(block, len) };
                    fits = middle;
                }
                None => refused = middle,
            }
        }
        Room { free_bytes, largest_block_bytes: fits * STEP }
    }
}

/// The global allocator, which knows how much is free by `F`.
#[derive(Debug)]
pub struct GlobalHeap<F>(pub F);

// SAFETY: 1 and 2 are what `alloc` and `realloc` promise.
unsafe impl<F: Fn() -> u64> Allocator for GlobalHeap<F> {
    fn allocate(&self, len: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(len, ALIGN).ok().filter(|_| len > 0)?;
        // The compiler may leave an allocation out whose memory nobody uses, and take it for done: that is how the largest
        // block is searched for, so the address goes where the compiler does not see.
        // SAFETY: the layout has a size.
        NonNull::new(core::hint::black_box(unsafe { alloc(layout) }))
    }

    unsafe fn resize(&self, block: NonNull<u8>, len: usize, new_len: usize) -> Option<NonNull<u8>> {
        Layout::from_size_align(new_len, ALIGN).ok()?;
        // SAFETY: `allocate` or `resize` gave the block this layout, the caller says; the new one was checked.
        NonNull::new(unsafe {
            realloc(block.as_ptr(), Layout::from_size_align_unchecked(len, ALIGN), new_len)
        })
    }

    unsafe fn free(&self, block: NonNull<u8>, len: usize) {
        // SAFETY: as for `resize`.
        unsafe { dealloc(block.as_ptr(), Layout::from_size_align_unchecked(len, ALIGN)) }
    }

    fn grow(&self, vector: &mut Vec<u64>) -> bool {
        vector.try_reserve(1).is_ok()
    }

    fn free_bytes(&self) -> u64 {
        (self.0)()
    }
}
