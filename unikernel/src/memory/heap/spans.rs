//! All spans: for each class those that have blocks to give, and a few empty ones for whichever class comes next.

use super::size_class::{CLASSES, Class};
use super::source::{End, GRANULE_LEN, RangeSource, is_plenty};
use super::span::{Block, Span, SpanLen};
use core::alloc::Layout;
use core::mem;
use core::ptr::{self, NonNull};

/// Empty spans of each length that are kept.
const SPARE_MAX: usize = 2;

/// The spans of a heap. What is full is in no list: its blocks lead back to it.
pub(super) struct Spans {
    /// By class, the first of those that are not full.
    open: [*mut Span; CLASSES],
    /// By length, empty ones.
    spare: [[*mut Span; SPARE_MAX]; SpanLen::ALL.len()],
    /// By class, how many blocks are out.
    out: [usize; CLASSES],
}

// SAFETY: the pointers are to spans that belong to the heap alone, wherever it goes.
unsafe impl Send for Spans {}

/// What a range for one block of a class is taken with.
const fn alone(class: Class) -> Layout {
    let len_bytes = class.len_bytes().next_multiple_of(GRANULE_LEN);
    // Lengths that are powers of two are what aligned blocks have; they keep their alignment.
    let align = if class.align_bytes() > GRANULE_LEN { class.align_bytes() } else { GRANULE_LEN };
    match Layout::from_size_align(len_bytes, align) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    }
}

impl Spans {
    pub(super) const fn new() -> Self {
        let nothing = ptr::null_mut();
        Self {
            open: [nothing; CLASSES],
            spare: [[nothing; SPARE_MAX]; SpanLen::ALL.len()],
            out: [0; CLASSES],
        }
    }

    /// How many blocks of a class are out.
    pub(super) const fn out(&self, class: Class) -> usize {
        self.out[class.index()]
    }

    /// Takes up to `wanted` blocks out, as a list; says how many there are. It takes what it can of spans that are in
    /// use, and opens a new one only if that is nothing.
    pub(super) fn take(
        &mut self,
        source: &mut impl RangeSource,
        class: Class,
        wanted: u32,
    ) -> (*mut Block, u32) {
        let (mut list, mut count) = (ptr::null_mut(), 0);
        while count < wanted {
            let mut span = self.open[class.index()];
            if span.is_null() {
                if count > 0 {
                    break;
                }
                let len = SpanLen::of(class);
                if len == SpanLen::Long && !is_plenty(source, len.len_bytes()) {
                    return self.take_alone(source, class).map_or((list, 0), |block| (block, 1));
                }
                let Some(range) = self.take_range(source, len) else { break };
                // SAFETY: the range was just taken, with the layout of this class's spans.
                unsafe {
                    span = Span::create(range, class);
                    self.link(span, class);
                }
            }
            // SAFETY: spans of the list exist, and are this structure's alone; what was popped is nobody's.
            unsafe {
                while count < wanted
                    && let Some(block) = Span::pop(span)
                {
                    block.write(Block { next: list });
                    list = block;
                    count += 1;
                }
                if (*span).is_full() {
                    self.unlink(span, class);
                }
            }
        }
        self.out[class.index()] += count as usize;
        (list, count)
    }

    /// Takes a block that is the only one in a range of its own, for when there is no room for a span, or too little.
    pub(super) fn take_alone(&mut self, source: &mut impl RangeSource, class: Class) -> Option<*mut Block> {
        let block = source.take(alone(class), End::High)?.cast::<Block>().as_ptr();
        // SAFETY: the range was just taken.
        unsafe { block.write(Block { next: ptr::null_mut() }) };
        self.out[class.index()] += 1;
        Some(block)
    }

    /// Puts all blocks of a list back.
    ///
    /// # Safety
    /// They are out, of this class, and not used any more.
    pub(super) unsafe fn put(&mut self, source: &mut impl RangeSource, class: Class, mut list: *mut Block) {
        while !list.is_null() {
            let block = list;
            // SAFETY: blocks of the list are nobody's, and hold a link.
            list = unsafe { (*block).next };
            self.out[class.index()] -= 1;
            if source.starts_at(block.addr()) {
                if let Some(range) = NonNull::new(block) {
                    // SAFETY: a span starts with its header, so the block is alone; the rest is the caller's promise.
                    unsafe { source.give_back(range.cast(), alone(class).size()) };
                }
                continue;
            }
            let span = Span::of_block(source, block, class);
            // SAFETY: a block that is out and not alone lies in a span that exists; the rest is the caller's promise.
            unsafe {
                let was_full = (*span).is_full();
                Span::push(span, block);
                if was_full {
                    self.link(span, class);
                }
                if (*span).is_empty() {
                    self.unlink(span, class);
                    self.retire(source, span, SpanLen::of(class));
                }
            }
        }
    }

    /// Gives the empty spans back.
    pub(super) fn trim(&mut self, source: &mut impl RangeSource) {
        for len in SpanLen::ALL {
            for spare in &mut self.spare[len as usize] {
                if let Some(range) = NonNull::new(mem::replace(spare, ptr::null_mut())) {
                    // SAFETY: a spare span was taken with this length, and none of its blocks is out.
                    unsafe { source.give_back(range.cast(), len.len_bytes()) };
                }
            }
        }
    }

    /// A range for a span: a spare one, or a new one.
    fn take_range(&mut self, source: &mut impl RangeSource, len: SpanLen) -> Option<NonNull<u8>> {
        let spare = self.spare[len as usize].iter_mut().find(|spare| !spare.is_null());
        match spare.and_then(|spare| NonNull::new(mem::replace(spare, ptr::null_mut()))) {
            Some(span) => Some(span.cast()),
            None => source.take(len.layout(), End::High),
        }
    }

    /// Keeps an empty span, or gives it back.
    ///
    /// # Safety
    /// It was taken with this length, none of its blocks is out, and no list has it.
    unsafe fn retire(&mut self, source: &mut impl RangeSource, span: *mut Span, len: SpanLen) {
        if let Some(place) = self.spare[len as usize].iter_mut().find(|spare| spare.is_null()) {
            *place = span;
        } else if let Some(range) = NonNull::new(span) {
            // SAFETY: the caller's promise.
            unsafe { source.give_back(range.cast(), len.len_bytes()) };
        }
    }

    /// Enters a span into the list of its class.
    ///
    /// # Safety
    /// It exists, and no list has it.
    unsafe fn link(&mut self, span: *mut Span, class: Class) {
        let first = &mut self.open[class.index()];
        // SAFETY: the caller's promise, for this span; those of the list exist.
        unsafe {
            (*span).previous = ptr::null_mut();
            (*span).next = *first;
            if let Some(next) = first.as_mut() {
                next.previous = span;
            }
        }
        *first = span;
    }

    /// Takes a span out of the list of its class.
    ///
    /// # Safety
    /// The list has it.
    unsafe fn unlink(&mut self, span: *mut Span, class: Class) {
        // SAFETY: the caller's promise, for this span; its neighbours exist as it does.
        unsafe {
            let Span { next, previous, .. } = *span;
            match previous.as_mut() {
                Some(previous) => previous.next = next,
                None => self.open[class.index()] = next,
            }
            if let Some(next) = next.as_mut() {
                next.previous = previous;
            }
        }
    }
}
