//! A block, and what was written to it.

use super::room::{GRANULE, KIB, MIDDLE_ALIGN_MAX, MIDDLE_MAX, SMALL_MAX};
use core::alloc::Layout;
use core::ops::Range;
use core::ptr::NonNull;

/// Bytes at either end of a block that are written and looked at, and how far apart those between are.
const EDGE: usize = 24;
const STEP: usize = 2048;

/// A block that is allocated.
pub(super) struct Block {
    pub(super) start: NonNull<u8>,
    pub(super) layout: Layout,
    /// How much the heap says that it uses for it.
    pub(super) used_bytes: u64,
    seed: usize,
}

impl Block {
    /// A block that was just allocated, all of whose content is new.
    pub(super) fn new(start: NonNull<u8>, layout: Layout, used_bytes: u64, seed: usize) -> Self {
        assert!(start.addr().get().is_multiple_of(layout.align()), "{start:p} for {layout:?}");
        let block = Self { start, layout, used_bytes, seed };
        block.check_used();
        for at in block.places(layout.size()) {
            // SAFETY: the block is allocated, and longer than that.
            unsafe { start.as_ptr().add(at).write(block.byte(at)) };
        }
        block
    }

    /// What the heap uses for a block is no less than its length, and not much more.
    fn check_used(&self) {
        let (size, used) = (self.layout.size() as u64, self.used_bytes);
        let least = self.layout.size().max(self.layout.align());
        let most = match least {
            0..=SMALL_MAX => least.next_power_of_two().max(16) as u64,
            _ => size.next_multiple_of(GRANULE as u64),
        };
        assert!((size..=most).contains(&used), "{used} bytes are used for {:?}", self.layout);
    }

    /// Its first `len` bytes, which may be elsewhere, are as they were written.
    pub(super) fn check(&self, start: NonNull<u8>, len: usize) {
        for at in self.places(self.layout.size()).filter(|at| *at < len) {
            // SAFETY: so many bytes from there on are allocated, and this one was written, there or before it was moved.
            let byte = unsafe { start.as_ptr().add(at).read() };
            assert_eq!(byte, self.byte(at), "byte {at} of {:?} at {start:p}", self.layout);
        }
    }

    /// All of it is zero.
    pub(super) fn check_zeroed(start: NonNull<u8>, layout: Layout) {
        // SAFETY: the block is allocated, and the allocator has written all of it.
        let bytes = unsafe { core::slice::from_raw_parts(start.as_ptr(), layout.size()) };
        let zeros = [0; 4 * KIB];
        assert!(bytes.chunks(zeros.len()).all(|chunk| *chunk == zeros[..chunk.len()]), "{layout:?}");
    }

    pub(super) fn addresses(&self) -> Range<usize> {
        let start = self.start.addr().get();
        start..start + self.layout.size()
    }

    /// All that may not be free while the block is there: the span or arena that it could be in, or its own range.
    pub(super) fn reach(&self) -> Range<usize> {
        let Range { start, end } = self.addresses();
        let least = self.layout.size().max(self.layout.align());
        let around = match least.next_power_of_two() {
            len if len <= KIB => GRANULE,
            len if len <= 4 * KIB => 4 * GRANULE,
            len if len <= SMALL_MAX => 16 * GRANULE,
            _ if self.layout.size() <= MIDDLE_MAX && self.layout.align() <= MIDDLE_ALIGN_MAX => KIB * KIB,
            _ => GRANULE,
        };
        let span = start - start % around;
        // Alone in a range, a small block's is as long as its class.
        let own = match least {
            0..=SMALL_MAX => start + least.next_power_of_two(),
            _ => end,
        };
        span..(span + around).max(own.next_multiple_of(GRANULE))
    }

    fn places(&self, size: usize) -> impl Iterator<Item = usize> + use<> {
        let edge = EDGE.min(size);
        (0..edge).chain((STEP..size).step_by(STEP)).chain(size - edge..size)
    }

    fn byte(&self, at: usize) -> u8 {
        (self.seed * 31 + at * 7 + at / STEP) as u8
    }
}
