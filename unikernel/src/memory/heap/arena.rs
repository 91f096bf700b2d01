//! Middle-sized blocks: arenas of a MiB, each with a `linked_list_allocator` of its own.
//!
//! That allocator wastes nothing but walks its holes, so each list is kept short by the length of the arena and of the
//! blocks in it. Where there is little room, a block gets a range of its own; it is told from the others by
//! [`RangeSource::starts_at`], as arenas start with a header.

use super::source::{End, MARKED_LEN_MAX, RangeSource, is_plenty};
use super::span::aligned_to_itself;
use core::alloc::Layout;
use core::ptr::{self, NonNull};
use linked_list_allocator::Heap;

/// The length of the largest middle-sized blocks.
pub(super) const MIDDLE_MAX: usize = 128 << 10;
/// The greatest alignment that they have.
pub(super) const MIDDLE_ALIGN_MAX: usize = UNIT;

const ARENA_LEN: usize = MARKED_LEN_MAX;
/// Blocks are rounded up and aligned to it.
const UNIT: usize = 64;
/// Arenas that are asked before a new one is made.
const TRIES: usize = 8;

/// The header of an arena. Blocks lead to it by their address.
struct Arena {
    heap: Heap,
    next: *mut Arena,
    previous: *mut Arena,
    /// A length that was refused since a block was freed; longer ones need not be tried.
    refused: usize,
}

const HEADER_LEN: usize = size_of::<Arena>().next_multiple_of(UNIT);

/// The arenas of a heap, those in front where there was room lately.
pub(super) struct Arenas {
    first: *mut Arena,
    last: *mut Arena,
    /// How many have no block. They stay in the list.
    empty: usize,
    used_bytes: u64,
}

// SAFETY: the pointers are to arenas that belong to the heap alone, wherever it goes.
unsafe impl Send for Arenas {}

/// What a block of this length takes of an arena.
fn inner_layout(len_bytes: usize) -> Layout {
    let len_bytes = len_bytes.next_multiple_of(UNIT);
    debug_assert!(len_bytes <= ARENA_LEN - HEADER_LEN);
    // SAFETY: the alignment is a power of two, and the length far from overflow.
    unsafe { Layout::from_size_align_unchecked(len_bytes, UNIT) }
}

impl Arenas {
    pub(super) const fn new() -> Self {
        Self { first: ptr::null_mut(), last: ptr::null_mut(), empty: 0, used_bytes: 0 }
    }

    /// Bytes of blocks, as they are rounded.
    pub(super) const fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Takes a block of up to [`MIDDLE_MAX`] bytes, aligned to [`MIDDLE_ALIGN_MAX`]. `None` if no arena has room, and there
    /// is not plenty for another.
    pub(super) fn take(&mut self, source: &mut impl RangeSource, len_bytes: usize) -> Option<NonNull<u8>> {
        let layout = inner_layout(len_bytes);
        self.take_from_first(layout, TRIES)
            .or_else(|| {
                self.open(source)?;
                self.take_from_first(layout, 1)
            })
            .or_else(|| self.take_from_first(layout, usize::MAX))
    }

    /// Takes a block from one of the first `tries` arenas. Those without room go to the end of the list.
    fn take_from_first(&mut self, layout: Layout, tries: usize) -> Option<NonNull<u8>> {
        let mut arena = self.first;
        let mut left = tries;
        let stop = self.last;
        while left > 0 && !arena.is_null() {
            // SAFETY: arenas of the list exist, and are this structure's alone.
            unsafe {
                let next = (*arena).next;
                if layout.size() < (*arena).refused {
                    if let Ok(inner) = (*arena).heap.allocate_first_fit(layout) {
                        let was_empty = (*arena).heap.used() == layout.size();
                        self.empty -= usize::from(was_empty);
                        self.used_bytes += layout.size() as u64;
                        return Some(inner);
                    }
                    (*arena).refused = layout.size();
                }
                if arena == stop {
                    return None;
                }
                self.unlink(arena);
                self.link_last(arena);
                arena = next;
            }
            left -= 1;
        }
        None
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// It was taken with this length, and is not used any more.
    pub(super) unsafe fn put(&mut self, source: &mut impl RangeSource, block: NonNull<u8>, len_bytes: usize) {
        let arena = Self::arena_of(source, block);
        // SAFETY: a block lies in an arena that exists, which is this structure's alone; the rest is the caller's promise.
        unsafe {
            self.free_inner(source, arena, block.addr().get(), inner_layout(len_bytes));
            self.unlink(arena);
            if (*arena).heap.used() == 0 && self.empty > 0 {
                Self::close(source, arena);
            } else {
                self.empty += usize::from((*arena).heap.used() == 0);
                self.link_first(arena);
            }
        }
    }

    /// Makes a block shorter or, within what it was rounded to, longer where it is; says whether that was possible.
    ///
    /// # Safety
    /// It was taken with `len_bytes`; what is beyond the new length, which is a middle-sized one, is not used any more.
    pub(super) unsafe fn resize(
        &mut self,
        source: &mut impl RangeSource,
        block: NonNull<u8>,
        len_bytes: usize,
        new_len_bytes: usize,
    ) -> bool {
        let (old, new) = (inner_layout(len_bytes).size(), inner_layout(new_len_bytes).size());
        if new > old {
            return false;
        }
        if new < old {
            let end = block.addr().get() + new;
            // SAFETY: as for `put`; the end is a multiple of the unit, as a block of its own would be.
            unsafe {
                let rest = Layout::from_size_align_unchecked(old - new, UNIT);
                self.free_inner(source, Self::arena_of(source, block), end, rest);
            }
        }
        true
    }

    /// Gives all arenas without blocks back.
    pub(super) fn trim(&mut self, source: &mut impl RangeSource) {
        let mut arena = self.first;
        while !arena.is_null() && self.empty > 0 {
            // SAFETY: as in `take_from_first`.
            unsafe {
                let next = (*arena).next;
                if (*arena).heap.used() == 0 {
                    self.empty -= 1;
                    self.unlink(arena);
                    Self::close(source, arena);
                }
                arena = next;
            }
        }
    }

    fn arena_of(source: &impl RangeSource, block: NonNull<u8>) -> *mut Arena {
        source.at(block.addr().get() & !(ARENA_LEN - 1)).cast()
    }

    /// # Safety
    /// The arena exists, and has this part given out, which is not used any more.
    unsafe fn free_inner(
        &mut self,
        source: &impl RangeSource,
        arena: *mut Arena,
        address: usize,
        layout: Layout,
    ) {
        let Some(inner) = NonNull::new(source.at(address)) else { return };
        // SAFETY: the caller's promise.
        unsafe {
            (*arena).heap.deallocate(inner, layout);
            (*arena).refused = usize::MAX;
        }
        self.used_bytes -= layout.size() as u64;
    }

    /// Makes an arena without blocks, in front of the list.
    fn open(&mut self, source: &mut impl RangeSource) -> Option<()> {
        if !is_plenty(source, ARENA_LEN) {
            return None;
        }
        let range = source.take(const { aligned_to_itself(ARENA_LEN) }, End::High)?;
        let arena = range.as_ptr().cast::<Arena>();
        let (next, previous) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the range was just taken, aligned and long enough; the allocator gets what is behind the header.
        unsafe {
            arena.write(Arena { heap: Heap::empty(), next, previous, refused: usize::MAX });
            (*arena).heap.init(range.as_ptr().add(HEADER_LEN), ARENA_LEN - HEADER_LEN);
            self.link_first(arena);
        }
        self.empty += 1;
        Some(())
    }

    /// # Safety
    /// The arena exists, has no block, and the list does not have it.
    unsafe fn close(source: &mut impl RangeSource, arena: *mut Arena) {
        let Some(range) = NonNull::new(arena) else { return };
        // SAFETY: arenas are taken with this length; the rest is the caller's promise.
        unsafe { source.give_back(range.cast(), ARENA_LEN) };
    }

    /// # Safety
    /// The arena exists, and the list does not have it.
    unsafe fn link_first(&mut self, arena: *mut Arena) {
        // SAFETY: the caller's promise; arenas of the list exist.
        unsafe {
            (*arena).previous = ptr::null_mut();
            (*arena).next = self.first;
            match self.first.as_mut() {
                Some(first) => first.previous = arena,
                None => self.last = arena,
            }
        }
        self.first = arena;
    }

    /// # Safety
    /// As for [`link_first`](Self::link_first).
    unsafe fn link_last(&mut self, arena: *mut Arena) {
        // SAFETY: as there.
        unsafe {
            (*arena).next = ptr::null_mut();
            (*arena).previous = self.last;
            match self.last.as_mut() {
                Some(last) => last.next = arena,
                None => self.first = arena,
            }
        }
        self.last = arena;
    }

    /// # Safety
    /// The list has the arena.
    unsafe fn unlink(&mut self, arena: *mut Arena) {
        // SAFETY: the caller's promise; arenas of the list exist.
        unsafe {
            let Arena { next, previous, .. } = *arena;
            match previous.as_mut() {
                Some(previous) => previous.next = next,
                None => self.first = next,
            }
            match next.as_mut() {
                Some(next) => next.previous = previous,
                None => self.last = previous,
            }
        }
    }
}
