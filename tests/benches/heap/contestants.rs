//! Who takes part, each as a `GlobalAlloc`.

use crate::Result;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};
use spin::Mutex;
use std::alloc::{GlobalAlloc, Layout, System};
use std::num::NonZeroUsize;
use std::ptr::{self, NonNull};
use talc::TalcCell;
use talc::source::Manual;
use unikernel::memory::heap::{CurrentCpu, Heap, OneRange};

/// Memory for those who need some: huge pages, all touched.
pub(crate) struct Arena {
    start: NonNull<u8>,
    len_bytes: usize,
}

impl Arena {
    const LEN_BYTES: NonZeroUsize = NonZeroUsize::new(256 << 20).unwrap();

    /// Maps and touches the memory, which stays to the end of the process.
    ///
    /// # Errors
    ///
    /// When the host has no such memory.
    pub(crate) fn map() -> Result<Self> {
        let len_bytes = Self::LEN_BYTES;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: the mapping is new, and its place the host's choice.
        let start =
            unsafe { mmap_anonymous(None, len_bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }?;
        // SAFETY: the range was just mapped, is used by nobody yet, and can be written.
        unsafe {
            madvise(start, len_bytes.get(), MmapAdvise::MADV_HUGEPAGE)?;
            start.cast::<u8>().as_ptr().write_bytes(1, len_bytes.get());
        }
        Ok(Self { start: start.cast(), len_bytes: len_bytes.get() })
    }
}

/// An allocator, with its memory.
pub(crate) trait Contestant: GlobalAlloc + Sized {
    /// What the printed tables call it.
    const NAME: &str;

    /// One without a block, over the arena if it needs memory. The one before is not used any more.
    fn new(arena: &Arena) -> Result<Self>;
}

struct OneThread;

// SAFETY: 1, the heap has one CPU. 2, the contest is held by one thread.
unsafe impl CurrentCpu for OneThread {
    #[inline(always)]
    fn index() -> usize {
        0
    }
}

/// The unikernel's.
pub(crate) struct Ours(Heap<OneRange, OneThread>);

impl Contestant for Ours {
    const NAME: &str = "ours";

    fn new(arena: &Arena) -> Result<Self> {
        // SAFETY: the arena is its alone until the next contestant.
        Ok(Self(Heap::new(unsafe { OneRange::new(arena.start.as_ptr(), arena.len_bytes) })))
    }
}

/// `linked_list_allocator` alone, behind a lock.
pub(crate) struct LinkedList(Mutex<linked_list_allocator::Heap>);

impl Contestant for LinkedList {
    const NAME: &str = "linked_list_allocator";

    fn new(arena: &Arena) -> Result<Self> {
        // SAFETY: as above.
        Ok(Self(Mutex::new(unsafe {
            linked_list_allocator::Heap::new(arena.start.as_ptr(), arena.len_bytes)
        })))
    }
}

// SAFETY: blocks come from the one heap and go back to it.
unsafe impl GlobalAlloc for LinkedList {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().allocate_first_fit(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        // SAFETY: the caller's promise.
        unsafe { self.0.lock().deallocate(block, layout) };
    }
}

/// Talc, without a lock.
pub(crate) struct Talc(TalcCell<Manual>);

impl Contestant for Talc {
    const NAME: &str = "talc";

    fn new(arena: &Arena) -> Result<Self> {
        let talc = TalcCell::new(Manual);
        // SAFETY: as above.
        unsafe { talc.claim(arena.start.as_ptr(), arena.len_bytes) }.ok_or("talc refuses the arena")?;
        Ok(Self(talc))
    }
}

/// The C library's.
pub(crate) struct Process;

impl Contestant for Process {
    const NAME: &str = "malloc of the C library";

    fn new(_: &Arena) -> Result<Self> {
        Ok(Self)
    }
}

/// mimalloc.
pub(crate) struct Mimalloc;

impl Contestant for Mimalloc {
    const NAME: &str = "mimalloc";

    fn new(_: &Arena) -> Result<Self> {
        Ok(Self)
    }
}

/// Makes contestants of allocators that are `GlobalAlloc` already: `self` and where in it, or which one.
macro_rules! forward {
    ($contestant:ty, $this:ident => $allocator:expr) => {
        // SAFETY: all is the allocator's.
        unsafe impl GlobalAlloc for $contestant {
            #[inline]
            unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
                let $this = self;
                // SAFETY: the caller's promise.
                unsafe { $allocator.alloc(layout) }
            }

            #[inline]
            unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
                let $this = self;
                // SAFETY: the caller's promise.
                unsafe { $allocator.dealloc(block, layout) };
            }

            #[inline]
            unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
                let $this = self;
                // SAFETY: the caller's promise.
                unsafe { $allocator.realloc(block, layout, new_size) }
            }
        }
    };
}

forward!(Ours, ours => ours.0);
forward!(Talc, talc => talc.0);
forward!(Process, _process => System);
forward!(Mimalloc, _mimalloc => mimalloc::MiMalloc);
