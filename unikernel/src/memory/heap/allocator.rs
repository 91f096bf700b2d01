//! The heap: leads each layout to its part, and is what the global allocator calls.

use super::arena::Arenas;
use super::cpu_cache::{AtHand, CpuCache, CurrentCpu};
use super::size_class::{Class, Kind};
use super::source::{End, GRANULE_LEN, RangeSource};
use super::span::Block;
use super::spans::Spans;
use super::statistics::{FailedAllocation, Statistics};
use core::alloc::{GlobalAlloc, Layout};
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use spin::Mutex;

/// A heap over the ranges of `S`, for so many CPUs.
pub struct Heap<S, C, const CPUS: usize = 1> {
    cpus: [CpuCache; CPUS],
    shared: Mutex<Shared<S>>,
    which_cpu: PhantomData<fn() -> C>,
}

/// What all CPUs share.
pub(super) struct Shared<S> {
    pub(super) source: S,
    spans: Spans,
    arenas: Arenas,
    /// Bytes of blocks that have ranges of their own.
    range_bytes: u64,
    failed: Option<FailedAllocation>,
}

impl<S: RangeSource, C: CurrentCpu, const CPUS: usize> Heap<S, C, CPUS> {
    /// A heap without a block.
    #[must_use]
    pub const fn new(source: S) -> Self {
        let (spans, arenas) = (Spans::new(), Arenas::new());
        let shared = Shared { source, spans, arenas, range_bytes: 0, failed: None };
        Self { cpus: [const { CpuCache::new() }; CPUS], shared: Mutex::new(shared), which_cpu: PhantomData }
    }

    /// Gives the heap its memory.
    ///
    /// # Safety
    /// Nothing was allocated yet.
    pub unsafe fn init(&self, source: S) {
        self.shared.lock().source = source;
    }

    /// How much is used. While other CPUs are at work, it is what it was at some moments of the call.
    ///
    /// # Panics
    /// In a handler that has interrupted the heap on this CPU.
    pub fn statistics(&self) -> Statistics {
        let _at_hand = self.enter();
        self.statistics_of(&self.shared.lock())
    }

    /// Works on the source itself.
    pub(crate) fn with_source<T>(&self, work: impl FnOnce(&mut S) -> T) -> T {
        let _at_hand = self.enter();
        work(&mut self.shared.lock().source)
    }

    /// The latest failure, unless somebody holds the heap (a panic inside of it must not wait).
    pub fn latest_failure(&self) -> Option<FailedAllocation> {
        self.shared.try_lock()?.failed
    }

    /// Notes that there was no room for this after all, for who has tried something else since.
    pub(crate) fn note_failure(&self, layout: Layout) {
        let _at_hand = self.enter();
        let mut shared = self.shared.lock();
        let (statistics, largest_free_bytes) =
            (self.statistics_of(&shared), shared.source.largest_free_bytes());
        shared.failed = Some(FailedAllocation { layout, statistics, largest_free_bytes });
    }

    /// Gives all that is only kept at hand back to the source: the free blocks of this CPU, empty spans and arenas.
    pub fn trim(&self) {
        let mut at_hand = self.enter();
        self.shared.lock().trim(&mut at_hand);
    }

    #[cfg(test)]
    pub(super) fn with_shared<T>(&self, look: impl FnOnce(&mut Shared<S>) -> T) -> T {
        look(&mut self.shared.lock())
    }

    #[inline(always)]
    fn enter(&self) -> AtHand<'_> {
        let index = C::index();
        debug_assert!(index < CPUS);
        // SAFETY: `CurrentCpu` promises that the index is of this CPU, and less than the number of them.
        unsafe { self.cpus.get_unchecked(index).enter() }
    }

    fn statistics_of(&self, shared: &Shared<S>) -> Statistics {
        let all = shared.source.len_bytes();
        let small: usize = Class::all()
            .map(|class| {
                let cached: u32 = self.cpus.iter().map(|cpu| cpu.count(class)).sum();
                shared.spans.out(class).saturating_sub(cached as usize) * class.len_bytes()
            })
            .sum();
        let blocks = small as u64 + shared.arenas.used_bytes() + shared.range_bytes;
        let used_bytes = shared.source.overhead_bytes() + blocks;
        Statistics { used_bytes, free_bytes: all.saturating_sub(used_bytes) }
    }

    /// Takes by `take`; if that fails, once more when all that is kept at hand was given back, then by `last_resort`.
    fn take_or_trim<T>(
        &self,
        at_hand: &mut AtHand<'_>,
        layout: Layout,
        take: impl Fn(&mut Shared<S>) -> Option<T>,
        last_resort: impl FnOnce(&mut Shared<S>) -> Option<T>,
    ) -> Option<T> {
        let mut shared = self.shared.lock();
        if let Some(taken) = take(&mut shared) {
            return Some(taken);
        }
        // What is longer than all memory can't be had by giving back what is at hand.
        if layout.size() as u64 <= shared.source.len_bytes() {
            shared.trim(at_hand);
        }
        let taken = take(&mut shared).or_else(|| last_resort(&mut shared));
        if taken.is_none() {
            let statistics = self.statistics_of(&shared);
            let largest_free_bytes = shared.source.largest_free_bytes();
            shared.failed = Some(FailedAllocation { layout, statistics, largest_free_bytes });
        }
        taken
    }

    /// A small block when the CPU has none at hand.
    #[cold]
    #[inline(never)]
    fn take_small(&self, at_hand: &mut AtHand<'_>, class: Class, layout: Layout) -> *mut u8 {
        let batch = AtHand::batch(class);
        let taken = self.take_or_trim(
            at_hand,
            layout,
            |Shared { source, spans, .. }| {
                Some(spans.take(source, class, batch)).filter(|(_, count)| *count > 0)
            },
            |Shared { source, spans, .. }| Some((spans.take_alone(source, class)?, 1)),
        );
        let Some((blocks, count)) = taken else { return ptr::null_mut() };
        at_hand.refill(class, blocks, count);
        at_hand.pop(class).map_or(ptr::null_mut(), <*mut Block>::cast)
    }

    /// Gives a list of small blocks back to their spans.
    ///
    /// # Safety
    /// All are of this class, and nobody's.
    #[cold]
    #[inline(never)]
    unsafe fn put_small(&self, class: Class, blocks: *mut Block) {
        let Shared { source, spans, .. } = &mut *self.shared.lock();
        // SAFETY: the caller's promise; blocks come from spans.
        unsafe { spans.put(source, class, blocks) };
    }

    /// A block that is not small.
    #[inline(never)]
    fn take_other(&self, layout: Layout, kind: Kind) -> *mut u8 {
        let mut at_hand = self.enter();
        let taken = self.take_or_trim(
            &mut at_hand,
            layout,
            |Shared { source, arenas, range_bytes, .. }| {
                let in_arena = if kind == Kind::Middle { arenas.take(source, layout.size()) } else { None };
                in_arena.or_else(|| take_range(source, range_bytes, layout, S::take))
            },
            |_| None,
        );
        taken.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    /// A block of zeros with a range of its own.
    #[inline(never)]
    fn take_zeroed_range(&self, layout: Layout) -> *mut u8 {
        let mut at_hand = self.enter();
        let taken = self.take_or_trim(
            &mut at_hand,
            layout,
            |Shared { source, range_bytes, .. }| take_range(source, range_bytes, layout, S::take_zeroed),
            |_| None,
        );
        taken.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    /// Frees a block that is not small.
    ///
    /// # Safety
    /// It was allocated with this layout, is of this kind, and is not used any more.
    #[inline(never)]
    unsafe fn put_other(&self, block: NonNull<u8>, layout: Layout, kind: Kind) {
        let _at_hand = self.enter();
        let mut shared = self.shared.lock();
        let Shared { source, arenas, range_bytes, .. } = &mut *shared;
        // SAFETY: the caller's promise; middle-sized blocks tell by their address where they are.
        unsafe {
            if kind == Kind::Middle && !source.starts_at(block.addr().get()) {
                arenas.put(source, block, layout.size());
            } else {
                let len_bytes = range_len(layout.size());
                *range_bytes -= len_bytes as u64;
                source.give_back(block, len_bytes);
            }
        }
    }

    /// Gives a block with a range of its own a greater length elsewhere, if its mappings can be moved there.
    ///
    /// # Safety
    /// It was allocated with this layout, and is not used at its old place if it was moved.
    #[cold]
    #[inline(never)]
    unsafe fn relocate(&self, block: NonNull<u8>, layout: Layout, new_layout: Layout) -> Option<NonNull<u8>> {
        let (len_bytes, new_len_bytes) = (range_len(layout.size()), range_len(new_layout.size()));
        if [layout, new_layout].map(Kind::of) != [Kind::Large; 2] || new_len_bytes <= len_bytes {
            return None;
        }
        let new = Layout::from_size_align(new_len_bytes, new_layout.align().max(GRANULE_LEN)).ok()?;
        let _at_hand = self.enter();
        let Shared { source, range_bytes, .. } = &mut *self.shared.lock();
        // SAFETY: the caller's promise; large blocks have ranges of their own.
        let moved = unsafe { source.relocate(block, len_bytes, new) }?;
        *range_bytes += (new_len_bytes - len_bytes) as u64;
        Some(moved)
    }

    /// Gives a block another length where it is, if that is possible.
    ///
    /// # Safety
    /// It was allocated with this layout, and is not used beyond the new size, which makes a valid layout.
    unsafe fn resize(&self, block: NonNull<u8>, layout: Layout, new_layout: Layout) -> bool {
        let (kind, new_kind) = (Kind::of(layout), Kind::of(new_layout));
        match (kind, new_kind) {
            (Kind::Small(_), _) => return kind == new_kind,
            (_, Kind::Small(_)) => return false,
            _ => {}
        }
        let _at_hand = self.enter();
        let mut shared = self.shared.lock();
        let Shared { source, arenas, range_bytes, .. } = &mut *shared;
        // SAFETY: the caller's promise; see `put_other`.
        unsafe {
            if kind == Kind::Middle && !source.starts_at(block.addr().get()) {
                let (size, new_size) = (layout.size(), new_layout.size());
                return new_kind == Kind::Middle && arenas.resize(source, block, size, new_size);
            }
            // A range of its own does for middle-sized blocks as for large ones.
            let (len_bytes, new_len_bytes) = (range_len(layout.size()), range_len(new_layout.size()));
            if new_len_bytes > len_bytes && !source.grow(block, len_bytes, new_len_bytes) {
                return false;
            }
            if new_len_bytes < len_bytes {
                source.shrink(block, len_bytes, new_len_bytes);
            }
            *range_bytes = *range_bytes + new_len_bytes as u64 - len_bytes as u64;
        }
        true
    }
}

/// The length of the range that a block of this size has to itself.
const fn range_len(size: usize) -> usize {
    // A size is at most `isize::MAX`, so this does not overflow.
    size.next_multiple_of(GRANULE_LEN)
}

/// A range for one block, counted in `range_bytes`.
fn take_range<S: RangeSource>(
    source: &mut S,
    range_bytes: &mut u64,
    layout: Layout,
    take: impl FnOnce(&mut S, Layout, End) -> Option<NonNull<u8>>,
) -> Option<NonNull<u8>> {
    let len_bytes = range_len(layout.size());
    let range = Layout::from_size_align(len_bytes, layout.align().max(GRANULE_LEN)).ok()?;
    let block = take(source, range, End::Low)?;
    *range_bytes += len_bytes as u64;
    Some(block)
}

impl<S: RangeSource> Shared<S> {
    fn trim(&mut self, at_hand: &mut AtHand<'_>) {
        for class in Class::all() {
            for blocks in [at_hand.take_first(class), at_hand.take_second(class)] {
                // SAFETY: what was at hand is nobody's, and came from spans of the class.
                unsafe { self.spans.put(&mut self.source, class, blocks) };
            }
        }
        self.spans.trim(&mut self.source);
        self.arenas.trim(&mut self.source);
        self.source.trim();
    }
}

// SAFETY: blocks of different kinds, and of the same, do not overlap: spans and arenas are ranges that the source has given
// out, and a block is either in a list or allocated. Blocks are as aligned as `Kind::of` has looked for.
unsafe impl<S: RangeSource, C: CurrentCpu, const CPUS: usize> GlobalAlloc for Heap<S, C, CPUS> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match Kind::of(layout) {
            Kind::Small(class) => {
                let mut at_hand = self.enter();
                match at_hand.pop(class) {
                    Some(block) => block.cast(),
                    None => self.take_small(&mut at_hand, class, layout),
                }
            }
            kind => self.take_other(layout, kind),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if Kind::of(layout) == Kind::Large {
            return self.take_zeroed_range(layout);
        }
        // SAFETY: the caller's promise; a block is as long as its layout.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                block.write_bytes(0, layout.size());
            }
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        match Kind::of(layout) {
            Kind::Small(class) => {
                let mut at_hand = self.enter();
                // SAFETY: the block was allocated with this layout, so it is of this class, and not used any more.
                unsafe {
                    let too_many = at_hand.push(class, block.as_ptr().cast());
                    if !too_many.is_null() {
                        self.put_small(class, too_many);
                    }
                }
            }
            // SAFETY: the caller's promise.
            kind => unsafe { self.put_other(block, layout, kind) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size does not overflow when rounded up to the alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let Some(old) = NonNull::new(block) else { return ptr::null_mut() };
        // SAFETY: the caller's promise; a block that moved is copied whole as far as both reach, then freed.
        unsafe {
            if self.resize(old, layout, new_layout) {
                return block;
            }
            if let Some(moved) = self.relocate(old, layout, new_layout) {
                return moved.as_ptr();
            }
            let moved = self.alloc(new_layout);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
