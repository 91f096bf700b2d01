//! Giving frames back: to the CPU's cache as long as there is room, else to the bitmap.
//!
//! A frame that is freed twice is found out by the bitmap, or because it lies on top of the CPU's cache. Deeper in a
//! cache, in that of another CPU, or in the middle of a 2 MiB frame, it is found when the cache gives it back, unless it
//! was handed out twice before.

use super::area::{AREA_FRAMES, WORD_FRAMES};
use super::cpu_frames::{Inside, SMALL_BATCH, SMALL_MAX};
use super::pool::Pool;

impl Pool<'_> {
    /// Gives back `count` contiguous frames.
    #[inline]
    pub(super) fn free(&self, cpu: usize, first: u64, count: u64) {
        match count {
            1 => self.free_frame(cpu, first),
            AREA_FRAMES if first.is_multiple_of(AREA_FRAMES) => self.free_area(cpu, first / AREA_FRAMES),
            _ => self.release(first, count),
        }
    }

    /// Gives a frame back.
    #[inline]
    pub(super) fn free_frame(&self, cpu: usize, frame: u64) {
        let number = frame as u32;
        let keep = |inside: Inside<'_>| inside.small().top() != Some(number) && inside.small().push(number);
        if !self.bitmap.is_taken(frame) || !self.enter(cpu).is_some_and(keep) {
            self.give_back_frame(cpu, frame);
        }
    }

    /// Gives an area back.
    #[inline]
    pub(super) fn free_area(&self, cpu: usize, area: u64) {
        if self.bitmap.looks_taken(area as usize)
            && self.enter(cpu).is_some_and(|inside| inside.areas().push(area as u32))
        {
            return;
        }
        self.release(area.saturating_mul(AREA_FRAMES), AREA_FRAMES);
    }

    /// Gives frames back to the bitmap, past the caches.
    pub(super) fn release(&self, first: u64, count: u64) {
        self.unpromised.add(self.bitmap.release(first, count));
    }

    /// Gives back all that the CPU's cache holds, and returns whether it held something.
    #[cold]
    pub(super) fn drain(&self, cpu: usize) -> bool {
        let Some(inside) = self.enter(cpu) else { return false };
        let small = self.give_back_small(&inside, SMALL_MAX);
        self.give_back_areas(&inside) || small
    }

    /// Gives back a frame that the cache did not keep.
    #[cold]
    fn give_back_frame(&self, cpu: usize, frame: u64) {
        let number = frame as u32;
        if !self.bitmap.is_taken(frame) {
            return self.bitmap.count_double_frees(1);
        }
        match self.enter(cpu) {
            Some(inside) if inside.small().top() == Some(number) => self.bitmap.count_double_frees(1),
            Some(inside) => {
                self.give_back_small(&inside, SMALL_BATCH);
                inside.small().push(number);
            }
            None => {
                let word = (frame / WORD_FRAMES) as usize;
                self.unpromised.add(self.bitmap.release_word(word, 1 << (frame % WORD_FRAMES)));
            }
        }
    }

    /// Gives back up to `most` of the oldest 4 KiB frames, those of one bitmap word together.
    #[cold]
    fn give_back_small(&self, inside: &Inside<'_>, most: usize) -> bool {
        let mut frames = [0; SMALL_MAX];
        let taken = inside.small().take_oldest(&mut frames[..most.min(SMALL_MAX)]);
        let mut rest = &mut frames[..taken];
        let mut released = 0;
        while let Some(word) = rest.first().map(|frame| frame / u64::BITS) {
            let (mut mask, mut others) = (0, 0);
            for index in 0..rest.len() {
                let frame = rest[index];
                if frame / u64::BITS == word {
                    let bit = 1 << (frame % u64::BITS);
                    if mask & bit != 0 {
                        self.bitmap.count_double_frees(1);
                    }
                    mask |= bit;
                } else {
                    rest[others] = frame;
                    others += 1;
                }
            }
            released += self.bitmap.release_word(word as usize, mask);
            rest = &mut rest[..others];
        }
        self.unpromised.add(released);
        taken > 0
    }

    /// Gives back all cached areas.
    #[cold]
    pub(super) fn give_back_areas(&self, inside: &Inside<'_>) -> bool {
        let mut any = false;
        while let Some(area) = inside.areas().pop() {
            self.release(u64::from(area) * AREA_FRAMES, AREA_FRAMES);
            any = true;
        }
        any
    }
}
