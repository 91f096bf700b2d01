//! What each CPU has at hand: for each class two lists of free blocks, so that most blocks come and go without a lock.
//!
//! Blocks come from the first list and go to it. When it is full, it becomes the second, and only when there is a second
//! already does that one go back to the spans. So a CPU that takes and frees around either end does not go back and forth.

use super::size_class::{CLASSES, Class};
use super::span::Block;
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering, compiler_fence};

/// Says which CPU runs.
///
/// # Safety
/// 1. [`index`](Self::index) is less than the number of CPUs of every heap that it is used for.
/// 2. While a flow of control is in a heap, no other one gets the same index, but for a handler that interrupts it and
///    comes to its end before it goes on.
pub unsafe trait CurrentCpu {
    /// Which one it is, from 0.
    fn index() -> usize;
}

/// Bytes of a list, and how many blocks it has at least and at most.
const LIST_BYTES: usize = 32 << 10;
const LIST_MIN: usize = 2;
const LIST_MAX: usize = 64;

/// When a class's list is full.
const LIST_LENS: [u8; CLASSES] = {
    let mut lens = [0; CLASSES];
    let mut classes = 0;
    while classes < CLASSES {
        let len = LIST_BYTES / Class::nth(classes).len_bytes();
        lens[classes] = if len < LIST_MIN {
            LIST_MIN as u8
        } else if len > LIST_MAX {
            LIST_MAX as u8
        } else {
            len as u8
        };
        classes += 1;
    }
    lens
};

/// Blocks of one class. The counts are atomic since other CPUs read them for statistics; only the own one writes.
struct Lists {
    first: UnsafeCell<*mut Block>,
    second: UnsafeCell<*mut Block>,
    first_len: AtomicU32,
    second_len: AtomicU32,
}

/// The lists of one CPU.
pub(super) struct CpuCache {
    /// Whether the CPU is in the heap, and a handler that interrupted it may not be.
    busy: AtomicBool,
    lists: [Lists; CLASSES],
}

// SAFETY: the cells are reached only through `AtHand`, which one flow of control has at a time, by the promise of
// `CurrentCpu` and the flag.
unsafe impl Sync for CpuCache {}
// SAFETY: the blocks belong to the heap that the cache is part of, wherever it goes.
unsafe impl Send for CpuCache {}

/// The lists of the CPU that runs, for the one that has come into the heap. Leaves it when dropped.
pub(super) struct AtHand<'a>(&'a CpuCache);

impl CpuCache {
    pub(super) const fn new() -> Self {
        let lists = [const {
            Lists {
                first: UnsafeCell::new(ptr::null_mut()),
                second: UnsafeCell::new(ptr::null_mut()),
                first_len: AtomicU32::new(0),
                second_len: AtomicU32::new(0),
            }
        }; CLASSES];
        Self { busy: AtomicBool::new(false), lists }
    }

    /// Comes into the heap.
    ///
    /// # Panics
    /// In a handler that has interrupted the heap on this CPU: handlers must not allocate or free.
    ///
    /// # Safety
    /// This is the cache of the CPU that runs, and stays so until the result is dropped.
    #[inline(always)]
    pub(super) unsafe fn enter(&self) -> AtHand<'_> {
        // The flag needs no exclusive access: what a handler changes in between it has changed back.
        if self.busy.load(Ordering::Relaxed) {
            interrupted();
        }
        self.busy.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        AtHand(self)
    }

    /// How many blocks of a class there are.
    pub(super) fn count(&self, class: Class) -> u32 {
        let lists = &self.lists[class.index()];
        lists.first_len.load(Ordering::Relaxed) + lists.second_len.load(Ordering::Relaxed)
    }
}

#[cold]
#[inline(never)]
fn interrupted() -> ! {
    panic!("a handler that interrupted the heap has allocated or freed memory, which handlers must not do")
}

impl Drop for AtHand<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

impl AtHand<'_> {
    #[inline(always)]
    fn lists(&self, class: Class) -> &Lists {
        // SAFETY: classes are less than the number of them.
        unsafe { self.0.lists.get_unchecked(class.index()) }
    }

    /// A block of the first list, or of the second, if there is one.
    #[inline(always)]
    pub(super) fn pop(&mut self, class: Class) -> Option<*mut Block> {
        let lists = self.lists(class);
        // SAFETY: whoever is at hand has the cells to itself; blocks in lists are nobody's and hold a link.
        unsafe {
            let block = *lists.first.get();
            if block.is_null() {
                return self.pop_second(class);
            }
            *lists.first.get() = (*block).next;
            lists.first_len.store(lists.first_len.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
            Some(block)
        }
    }

    #[inline(never)]
    fn pop_second(&mut self, class: Class) -> Option<*mut Block> {
        let lists = self.lists(class);
        if lists.second_len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let second = self.take_second(class);
        self.refill(class, second, u32::from(LIST_LENS[class.index()]));
        self.pop(class)
    }

    /// Adds a block. When both lists are full, the second is taken out and returned: it goes back to the spans.
    ///
    /// # Safety
    /// The block is of this class, and nobody's.
    #[inline(always)]
    #[must_use]
    pub(super) unsafe fn push(&mut self, class: Class, block: *mut Block) -> *mut Block {
        let lists = self.lists(class);
        let len = lists.first_len.load(Ordering::Relaxed);
        if len >= u32::from(LIST_LENS[class.index()]) {
            // SAFETY: the caller's promise.
            return unsafe { self.push_to_full(class, block) };
        }
        // SAFETY: the caller's promise for the block; whoever is at hand has the cells to itself.
        unsafe {
            block.write(Block { next: *lists.first.get() });
            *lists.first.get() = block;
        }
        lists.first_len.store(len + 1, Ordering::Relaxed);
        ptr::null_mut()
    }

    /// [`push`](Self::push) where the first list is full.
    ///
    /// # Safety
    /// As there.
    #[inline(never)]
    unsafe fn push_to_full(&mut self, class: Class, block: *mut Block) -> *mut Block {
        let second = self.take_second(class);
        let lists = self.lists(class);
        // SAFETY: as in `push`.
        unsafe {
            *lists.second.get() = *lists.first.get();
            block.write(Block { next: ptr::null_mut() });
        }
        lists.second_len.store(lists.first_len.load(Ordering::Relaxed), Ordering::Relaxed);
        self.refill(class, block, 1);
        second
    }

    /// Takes the first list out.
    pub(super) fn take_first(&mut self, class: Class) -> *mut Block {
        let lists = self.lists(class);
        lists.first_len.store(0, Ordering::Relaxed);
        // SAFETY: whoever is at hand has the cells to itself.
        unsafe { lists.first.get().replace(ptr::null_mut()) }
    }

    /// Takes the second list out.
    pub(super) fn take_second(&mut self, class: Class) -> *mut Block {
        let lists = self.lists(class);
        lists.second_len.store(0, Ordering::Relaxed);
        // SAFETY: whoever is at hand has the cells to itself.
        unsafe { lists.second.get().replace(ptr::null_mut()) }
    }

    /// How many blocks to fetch from the spans at once.
    pub(super) fn batch(class: Class) -> u32 {
        u32::from(LIST_LENS[class.index()])
    }

    /// Gives the first list, which is empty, its blocks.
    pub(super) fn refill(&mut self, class: Class, blocks: *mut Block, count: u32) {
        let lists = self.lists(class);
        // SAFETY: whoever is at hand has the cells to itself.
        unsafe { *lists.first.get() = blocks };
        lists.first_len.store(count, Ordering::Relaxed);
    }
}
