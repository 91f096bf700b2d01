//! Owned frames in any number, contiguous or not.
//!
//! The list needs no memory of its own: the word of the first frame of each run holds the number of the first frame of
//! the next run, in its upper half, and the length of its own run, in its lower half. Number 0 ends the list, because
//! frame 0 is never handed out.

use super::area::AREA_FRAMES;
use super::out_of_frames::OutOfFrames;
use super::pool::BATCH_FROM_CACHE;
use super::source::same_allocator;
use super::{FrameRun, FrameSource};
use crate::memory::address::PhysAddr;
use crate::memory::atomic::Ordering;
use crate::memory::page_size::PageSize;
use core::fmt;
use core::marker::PhantomData;

/// A list of runs of frames of size `S`, in the order they were pushed; all go back to the machine when it is dropped.
#[must_use = "dropping a batch gives all of it back"]
pub struct FrameBatch<S: PageSize, M: FrameSource> {
    machine: M,
    /// First frame of the first run; 0 if there is none.
    first: u32,
    /// First frame of the last run; 0 if there is none.
    last: u32,
    /// Length of all runs, in frames of size `S`.
    count: u64,
    size: PhantomData<S>,
}

/// What the word of the first frame of a run says.
#[derive(Clone, Copy)]
struct Link {
    next: u32,
    count: u32,
}

impl<S: PageSize, M: FrameSource> FrameBatch<S, M> {
    /// No frames.
    pub fn new(machine: M) -> Self {
        Self { machine, first: 0, last: 0, count: 0, size: PhantomData }
    }

    /// Takes `count` free frames, wherever they are: all or none. 4 KiB frames come from whole areas as long as they
    /// fill them, then by words of the bitmap, from areas that are in use in part.
    ///
    /// # Errors
    /// [`OutOfFrames`] if there are not as many.
    pub fn allocate(machine: M, count: u64) -> Result<Self, OutOfFrames> {
        let mut batch = Self::new(machine);
        if count > machine.frames().frame_count() / S::FRAMES {
            return Err(OutOfFrames::new::<S>(machine, count));
        }
        if S::FRAMES == 1 && batch.take_frames(count).is_none() {
            drop(batch);
            return Err(OutOfFrames::new::<S>(machine, count));
        }
        while batch.count < count {
            let Some(first) = machine.frames().pool.allocate(machine.cpu(), S::FRAMES, 1) else {
                drop(batch);
                return Err(OutOfFrames::new::<S>(machine, count));
            };
            batch.append(first as u32, 1);
        }
        Ok(batch)
    }

    /// How many frames it holds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The machine that they belong to.
    #[must_use]
    pub fn machine(&self) -> M {
        self.machine
    }

    /// Appends a run.
    ///
    /// # Errors
    /// The run, if it belongs to another allocator.
    pub fn push(&mut self, run: FrameRun<S, M>) -> Result<(), FrameRun<S, M>> {
        if !same_allocator(&self.machine, &run.machine()) {
            return Err(run);
        }
        let count = run.count();
        self.append(run.into_raw().frame_number() as u32, count as u32);
        Ok(())
    }

    /// Takes the first run out, or its first `most` frames if it is longer. `None` if the batch is empty, or `most` 0.
    pub fn pop_run(&mut self, most: u64) -> Option<FrameRun<S, M>> {
        if self.first == 0 || most == 0 {
            return None;
        }
        let (first, link) = (self.first, self.link(self.first));
        let taken = u64::from(link.count).min(most);
        if taken < u64::from(link.count) {
            let rest = first + (taken * S::FRAMES) as u32;
            self.set_link(rest, Link { next: link.next, count: link.count - taken as u32 });
            self.first = rest;
            if self.last == first {
                self.last = rest;
            }
        } else {
            self.first = link.next;
            if self.first == 0 {
                self.last = 0;
            }
        }
        self.count -= taken;
        // SAFETY: answers `FrameRun::from_raw`: 1 and 2, `append` took these frames from their owner, and they are in
        // the list no more.
        Some(unsafe { FrameRun::from_raw(self.machine, PhysAddr::of_frame(first.into()), taken) })
    }

    /// Takes `count` 4 KiB frames, in pieces as large as there are; fewer if others take some out of sight meanwhile.
    /// `None` if there are not as many that are promised to nobody.
    fn take_frames(&mut self, count: u64) -> Option<()> {
        let machine = self.machine;
        let (pool, cpu) = (&machine.frames().pool, machine.cpu());
        self.take_cached(count);
        if self.count == count {
            return Some(());
        }
        let mut grant = pool.grant(cpu, count - self.count)?;
        while count - self.count >= AREA_FRAMES
            && let Some(area) = pool.take_area(&mut grant)
        {
            self.append((area * AREA_FRAMES) as u32, AREA_FRAMES as u32);
        }
        self.take_cached(count);
        while self.count < count {
            let left = count - self.count;
            let append = |first, count| self.append(first as u32, count as u32);
            if !pool.take_some(cpu, left, &mut grant, append) {
                break;
            }
        }
        Some(())
    }

    /// Takes what the CPU's cache has for a batch of `count` 4 KiB frames: whole areas, then the last few frames.
    fn take_cached(&mut self, count: u64) {
        let machine = self.machine;
        let (pool, cpu) = (&machine.frames().pool, machine.cpu());
        while count - self.count >= AREA_FRAMES
            && let Some(area) = pool.take_cached_area(cpu)
        {
            self.append((area * AREA_FRAMES) as u32, AREA_FRAMES as u32);
        }
        if count - self.count <= BATCH_FROM_CACHE {
            pool.take_cached(cpu, count - self.count, |frame| self.append(frame as u32, 1));
        }
    }

    /// Puts frames that the caller owns behind the others.
    fn append(&mut self, first: u32, count: u32) {
        self.count += u64::from(count);
        let last = self.last;
        if last == 0 {
            self.first = first;
        } else {
            let link = self.link(last);
            if u64::from(last) + u64::from(link.count) * S::FRAMES == u64::from(first) {
                return self.set_link(last, Link { next: 0, count: link.count + count });
            }
            self.set_link(last, Link { next: first, ..link });
        }
        self.set_link(first, Link { next: 0, count });
        self.last = first;
    }

    fn link(&self, first: u32) -> Link {
        // Relaxed: the word belongs to who owns the frame; who hands the batch to another CPU makes it visible there.
        let word = self.machine.frames().word(first.into()).load(Ordering::Relaxed);
        Link { next: (word >> u32::BITS) as u32, count: word as u32 }
    }

    fn set_link(&self, first: u32, Link { next, count }: Link) {
        let word = u64::from(next) << u32::BITS | u64::from(count);
        self.machine.frames().word(first.into()).store(word, Ordering::Relaxed);
    }
}

impl<S: PageSize, M: FrameSource> Drop for FrameBatch<S, M> {
    fn drop(&mut self) {
        while let Some(run) = self.pop_run(u64::MAX) {
            drop(run);
        }
    }
}

impl<S: PageSize, M: FrameSource> fmt::Debug for FrameBatch<S, M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FrameBatch({} of {})", self.count, S::NAME)
    }
}
