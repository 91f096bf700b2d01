//! Spans: stretches of blocks of one class, with a header at the start that a block's address leads to.

use super::size_class::Class;
use super::source::{GRANULE_LEN, RangeSource};
use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// The longest blocks of a span of each length, but the longest. A span that is in use for a single block is not free for
/// others, so spans are not longer than what holds 7 blocks, or 15 where that is little.
const BLOCK_MAX: [usize; 2] = [1 << 10, 4 << 10];

/// A block that nobody uses, whose first word leads to another.
pub(super) struct Block {
    pub(super) next: *mut Block,
}

/// The header of a span.
pub(super) struct Span {
    /// Blocks that came back.
    free: *mut Block,
    /// Its neighbours in the list that it is in.
    pub(super) next: *mut Span,
    pub(super) previous: *mut Span,
    /// Blocks that are out.
    out: u32,
    /// Where blocks begin that were never out, from the start of the span. They are not touched before they are needed.
    fresh: u32,
    class: Class,
}

/// How long a span is. It is aligned to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpanLen {
    /// 16 KiB, a granule.
    Short,
    /// 64 KiB.
    Middle,
    /// 256 KiB.
    Long,
}

impl SpanLen {
    pub(super) const ALL: [Self; 3] = [Self::Short, Self::Middle, Self::Long];

    pub(super) const fn of(class: Class) -> Self {
        if class.len_bytes() <= BLOCK_MAX[0] {
            Self::Short
        } else if class.len_bytes() <= BLOCK_MAX[1] {
            Self::Middle
        } else {
            Self::Long
        }
    }

    pub(super) const fn len_bytes(self) -> usize {
        GRANULE_LEN << (2 * self as u32)
    }

    /// What a span is taken from the source with.
    pub(super) const fn layout(self) -> Layout {
        aligned_to_itself(self.len_bytes())
    }
}

/// The layout of a range whose address is a multiple of its length.
pub(super) const fn aligned_to_itself(len_bytes: usize) -> Layout {
    match Layout::from_size_align(len_bytes, len_bytes) {
        Ok(layout) => layout,
        Err(_) => panic!("the length is no power of two"),
    }
}

impl Span {
    /// Makes a span of a range.
    ///
    /// # Safety
    /// The range has the layout of the class's spans, and is the caller's.
    pub(super) unsafe fn create(range: NonNull<u8>, class: Class) -> *mut Self {
        let fresh = size_of::<Self>().next_multiple_of(class.align_bytes()) as u32;
        let span = range.as_ptr().cast::<Self>();
        let (free, next, previous) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: the range is longer than a header, aligned and the caller's.
        unsafe { span.write(Self { free, next, previous, out: 0, fresh, class }) };
        span
    }

    /// The span that a block of the class is in.
    pub(super) fn of_block(source: &impl RangeSource, block: *mut Block, class: Class) -> *mut Self {
        source.at(block.addr() & !(SpanLen::of(class).len_bytes() - 1)).cast()
    }

    /// Takes a block out.
    ///
    /// # Safety
    /// The span was created, and nobody else refers to its header.
    #[inline]
    pub(super) unsafe fn pop(span: *mut Self) -> Option<*mut Block> {
        // SAFETY: the caller's promise. The reference covers the header alone, never a block.
        let header = unsafe { &mut *span };
        let block = header.free;
        let block = if !block.is_null() {
            // SAFETY: blocks of the list are nobody's, and hold a link.
            header.free = unsafe { (*block).next };
            block
        } else if header.has_fresh() {
            let offset = header.fresh as usize;
            header.fresh += header.class.len_bytes() as u32;
            // SAFETY: there is a whole block between the offset and the end of the span.
            unsafe { span.cast::<u8>().add(offset).cast() }
        } else {
            return None;
        };
        header.out += 1;
        Some(block)
    }

    /// Puts a block back.
    ///
    /// # Safety
    /// As for [`pop`](Self::pop); the block came from there and is not used any more.
    #[inline]
    pub(super) unsafe fn push(span: *mut Self, block: *mut Block) {
        // SAFETY: the caller's promise.
        let header = unsafe { &mut *span };
        debug_assert!(header.out > 0, "a block goes back twice");
        // SAFETY: the block is nobody's, and as long as a link at least.
        unsafe { block.write(Block { next: header.free }) };
        header.free = block;
        header.out -= 1;
    }

    const fn has_fresh(&self) -> bool {
        self.fresh as usize + self.class.len_bytes() <= SpanLen::of(self.class).len_bytes()
    }

    /// Whether all blocks are out.
    pub(super) fn is_full(&self) -> bool {
        self.free.is_null() && !self.has_fresh()
    }

    /// Whether none is.
    pub(super) const fn is_empty(&self) -> bool {
        self.out == 0
    }
}
