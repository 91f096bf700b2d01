//! All spans: for each class those that have blocks to give, and a few empty ones for whichever class comes next.

use super::size_class::{CLASSES, Class};
use super::source::RangeSource;
use super::span::{Block, Span, SpanLen};
use core::mem;
use core::ptr::{self, NonNull};

/// Empty spans of each length that are kept.
const SPARE_MAX: usize = 4;

/// The spans of a heap. What is full is in no list: its blocks lead back to it.
pub(super) struct Spans {
    /// By class, the first of those that are not full.
    open: [*mut Span; CLASSES],
    /// By length, empty ones.
    spare: [[*mut Span; SPARE_MAX]; 2],
    /// By class, how many blocks are out.
    out: [usize; CLASSES],
}

// SAFETY: the pointers are to spans that belong to the heap alone, wherever it goes.
unsafe impl Send for Spans {}

impl Spans {
    pub(super) const fn new() -> Self {
        let nothing = ptr::null_mut();
        Self { open: [nothing; CLASSES], spare: [[nothing; SPARE_MAX]; 2], out: [0; CLASSES] }
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
                let Some(range) = self.take_range(source, SpanLen::of(class)) else { break };
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

    /// Puts all blocks of a list back.
    ///
    /// # Safety
    /// They are out, of this class, and not used any more.
    pub(super) unsafe fn put(&mut self, source: &mut impl RangeSource, class: Class, mut list: *mut Block) {
        while !list.is_null() {
            let block = list;
            let span = Span::of_block(source, block, class);
            // SAFETY: a block that is out lies in a span that exists; the rest is the caller's promise.
            unsafe {
                list = (*block).next;
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
            self.out[class.index()] -= 1;
        }
    }

    /// Gives the empty spans back.
    pub(super) fn trim(&mut self, source: &mut impl RangeSource) {
        for len in SpanLen::BOTH {
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
            None => source.take(len.layout()),
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
