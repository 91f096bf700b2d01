//! Buffers of pages of one length, all of which come, are marked, and go by turns.

use super::Way;
use super::memory::DemandMemory;
use crate::churn::figure::Figure;
use crate::churn::map::{MapError, Page};
use crate::churn::watch::Watch;
use crate::content::mix;
use crate::execute::{Observer, WrongWord};
use alloc::vec::Vec;
use core::time::Duration;

const WORD_LEN: u64 = size_of::<u64>() as u64;
/// What a page is touched with: one byte in its middle, which is the lowest of a word.
const TOUCH: u8 = 0xa5;

/// The buffers that there was room for.
pub(super) struct Buffers<'m, M: DemandMemory> {
    memory: &'m M,
    page_len: u64,
    buffer_len: u64,
    buffers: Vec<Buffer<M>>,
}

struct Buffer<M: DemandMemory> {
    pages: M::Buffer,
    /// Whether the pages that came in this round are as long as they should be.
    is_right: bool,
}

impl<'m, M: DemandMemory> Buffers<'m, M> {
    /// Takes buffers of `buffer_len` bytes, or one that is shorter, so that all are no longer than `room`; none if not even a
    /// page fits.
    ///
    /// # Errors
    /// Memory refuses a buffer for another reason than having no room.
    pub(super) fn take(memory: &'m M, page: Page, buffer_len: u64, room: u64) -> Result<Self, MapError> {
        let page_len = page.len_bytes();
        // Whole granules of four small pages.
        let align = page_len.max(Way::TouchSparse.page_step() * Page::Small.len_bytes());
        let buffer_len = buffer_len.min(room - room % align);
        let count = room.checked_div(buffer_len).unwrap_or(0);
        let mut buffers = Vec::new();
        let wanted = if buffers.try_reserve_exact(count as usize).is_ok() { count } else { 0 };
        for _ in 0..wanted {
            match memory.reserve(page, buffer_len as usize) {
                Ok(pages) => buffers.push(Buffer { pages, is_right: false }),
                Err(MapError::NoRoom) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Self { memory, page_len, buffer_len, buffers })
    }

    /// Bytes of all of them.
    pub(super) fn len_bytes(&self) -> u64 {
        self.buffers.len() as u64 * self.buffer_len
    }

    /// Has all pages come and go once, in figures for the one and the other. Returns how many bytes were written and read.
    ///
    /// # Errors
    /// What should have been done and was not.
    pub(super) fn round(
        &mut self,
        way: Way,
        seed: u64,
        [come, go]: [&mut Figure; 2],
        watch: &mut Watch<'_>,
    ) -> Result<u64, MapError> {
        let mut bytes = 0;
        let step = way.page_step() * self.page_len;
        for buffer in &mut self.buffers {
            buffer.come(self.memory, way, [self.page_len, self.buffer_len], come, watch)?;
        }
        let faults = self.memory.faults();
        let touch = if way == Way::Prefault { 0 } else { TOUCH };
        let seeds = || (0..).map(|index| mix(seed.wrapping_add(index)));
        for (buffer, seed) in self.buffers.iter_mut().zip(seeds()) {
            let start = self.memory.start(&mut buffer.pages).cast::<u64>();
            for page in (0..self.buffer_len).step_by(step as usize) {
                bytes += expect_zeros(start, page, self.page_len, touch, watch);
                bytes += mark(start, page, self.page_len, seed);
            }
        }
        if way == Way::Prefault {
            add_faults(come, self.memory.faults() - faults);
        }
        for (buffer, seed) in self.buffers.iter_mut().zip(seeds()) {
            let start = self.memory.start(&mut buffer.pages).cast::<u64>();
            for page in (0..self.buffer_len).step_by(step as usize) {
                bytes += verify(start, page, self.page_len, seed, watch);
            }
        }
        for Buffer { pages, is_right } in &mut self.buffers {
            let mut figure = Figure::new("");
            watch.time(&mut figure, |_| self.memory.give_back(pages))?;
            add(go, is_right.then_some(figure.time), self.buffer_len / self.page_len);
        }
        for buffer in &mut self.buffers {
            self.memory.reserve_again(&mut buffer.pages)?;
        }
        Ok(bytes)
    }
}

impl<M: DemandMemory> Buffer<M> {
    /// Has its pages come.
    fn come(
        &mut self,
        memory: &M,
        way: Way,
        [page_len, buffer_len]: [u64; 2],
        come: &mut Figure,
        watch: &Watch<'_>,
    ) -> Result<(), MapError> {
        let is_large = page_len == Page::Large.len_bytes();
        let large_pages = || if is_large { memory.large_pages() } else { 0 };
        let (large_before, faults_before) = (large_pages(), memory.faults());
        let start = memory.start(&mut self.pages);
        let mut figure = Figure::new("");
        let has_come = watch.time(&mut figure, |_| match way {
            Way::Touch | Way::TouchSparse => {
                let step = (way.page_step() * page_len) as usize;
                for page in (0..buffer_len as usize).step_by(step) {
                    // SAFETY: memory promises that the byte is of the buffer. Volatile, for the sake of the access itself.
                    unsafe { start.add(page + page_len as usize / 2).write_volatile(TOUCH) };
                }
                Ok(true)
            }
            Way::Prefault => match memory.prefault(&mut self.pages) {
                Err(MapError::NoRoom) => Ok(false),
                done => done.map(|()| true),
            },
        })?;
        let faults = memory.faults() - faults_before;
        let pages = buffer_len / page_len / way.page_step();
        self.is_right = !is_large || large_pages().saturating_sub(large_before) == pages;
        let is_done = has_come && self.is_right;
        if is_done && way != Way::Prefault {
            add_faults(come, faults);
        }
        add(come, is_done.then_some(figure.time), pages);
        Ok(())
    }
}

/// Adds operations that took so long, or were refused.
fn add(figure: &mut Figure, time: Option<Duration>, operations: u64) {
    match time {
        Some(time) => {
            figure.operations += operations;
            figure.time += time;
        }
        None => figure.refused += operations,
    }
}

fn add_faults(figure: &mut Figure, faults: u64) {
    figure.faults = figure.faults.map(|sum| sum + faults);
}

/// Looks at each word of a page that has just come, one byte of which was touched.
fn expect_zeros(start: *const u64, page: u64, page_len: u64, touch: u8, watch: &mut Watch<'_>) -> u64 {
    let touched = page + page_len / 2;
    for offset in (page..page + page_len).step_by(WORD_LEN as usize) {
        expect(start, offset, if offset == touched { touch.into() } else { 0 }, watch);
    }
    page_len
}

/// Where a page has its marks, with what they are: its first and its last word.
fn marks(page: u64, page_len: u64, seed: u64) -> [(u64, u64); 2] {
    [page, page + page_len - WORD_LEN].map(|offset| (offset, mix(seed ^ offset)))
}

fn mark(start: *mut u64, page: u64, page_len: u64, seed: u64) -> u64 {
    let marks = marks(page, page_len, seed);
    for (offset, value) in marks {
        // SAFETY: memory promises that the word is of the buffer. Volatile, since to the compiler two addresses are two
        // memories.
        unsafe { start.byte_add(offset as usize).write_volatile(value) };
    }
    marks.len() as u64 * WORD_LEN
}

fn verify(start: *const u64, page: u64, page_len: u64, seed: u64, watch: &mut Watch<'_>) -> u64 {
    let marks = marks(page, page_len, seed);
    marks.into_iter().for_each(|(offset, expected)| expect(start, offset, expected, watch));
    marks.len() as u64 * WORD_LEN
}

fn expect(start: *const u64, offset: u64, expected: u64, watch: &mut Watch<'_>) {
    // SAFETY: as for `mark`.
    let (address, found) = unsafe {
        let word = start.byte_add(offset as usize);
        (word as u64, word.read_volatile())
    };
    if found != expected {
        watch.wrong(WrongWord { address, expected, found });
    }
}
