//! Spans: stretches of blocks of one class, with a header at the start that a block's address leads to.

use super::size_class::Class;
use super::source::RangeSource;
use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// Lengths of spans, which are aligned to them. With the longer one, the blocks that are longest fill seven eighths.
const SHORT_LEN: usize = 64 << 10;
const LONG_LEN: usize = 256 << 10;
/// Where the longer ones begin: up to this length a short span holds 15 blocks.
const SHORT_BLOCK_MAX: usize = 4 << 10;

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

/// Whether spans are short or long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpanLen {
    Short,
    Long,
}

impl SpanLen {
    pub(super) const BOTH: [Self; 2] = [Self::Short, Self::Long];

    pub(super) const fn of(class: Class) -> Self {
        if class.len_bytes() <= SHORT_BLOCK_MAX { Self::Short } else { Self::Long }
    }

    pub(super) const fn len_bytes(self) -> usize {
        match self {
            Self::Short => SHORT_LEN,
            Self::Long => LONG_LEN,
        }
    }

    /// What a span is taken from the source with.
    pub(super) const fn layout(self) -> Layout {
        match self {
            Self::Short => const { aligned_to_itself(SHORT_LEN) },
            Self::Long => const { aligned_to_itself(LONG_LEN) },
        }
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
