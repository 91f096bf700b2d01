//! Taking frames that were promised: as quick as others from the CPU's cache, and found in the bitmap without fail.

use super::area::AREA_FRAMES;
use super::cpu_frames::Inside;
use super::pool::Pool;

impl Pool<'_> {
    /// Promises so many frames, all or none, and says whether it could.
    pub(super) fn promise(&self, cpu: usize, frames: u64) -> bool {
        let grant = self.grant(cpu, frames);
        grant.map(|grant| self.unpromised.promise(grant)).is_some()
    }

    /// Takes a frame that was promised. `None` only if more were promised than there are, which safe code can't do.
    pub(super) fn redeem_frame(&self, cpu: usize) -> Option<u64> {
        let cached = self.enter(cpu).and_then(|inside| self.pop_or_fill(cpu, &inside));
        match cached {
            Some(frame) => {
                // It was nobody's promise, so there is one frame in the bitmap that is promised no more.
                self.unpromised.give_back(1);
                Some(u64::from(frame))
            }
            None => self.redeem_shared_frame(cpu),
        }
    }

    /// Takes a frame that was promised from the bitmap.
    #[cold]
    pub(super) fn redeem_shared_frame(&self, cpu: usize) -> Option<u64> {
        loop {
            let before = self.arrivals();
            if let Some(frame) = self.claim_shared_frame(cpu) {
                self.unpromised.redeem(1);
                return Some(frame);
            }
            // A search that missed the frame did so because others gave some back. If nobody did, there is none.
            if self.arrivals() == before {
                return None;
            }
        }
    }

    /// Takes an area of promised frames: one of the CPU's cache, or of the bitmap if one is free as a whole, be it without
    /// the 4 KiB frames that the CPU keeps at hand.
    pub(super) fn redeem_area(&self, cpu: usize) -> Option<u64> {
        if let Some(area) = self.take_cached_area(cpu) {
            self.unpromised.give_back(AREA_FRAMES);
            return Some(area);
        }
        let claim = || self.bitmap.claim_areas(1, 1);
        let area = claim().or_else(|| self.drain(cpu).then(claim)?)?;
        self.unpromised.redeem(AREA_FRAMES);
        Some(area as u64)
    }

    fn pop_or_fill(&self, cpu: usize, inside: &Inside<'_>) -> Option<u32> {
        let small = inside.small();
        small.pop().or_else(|| self.fill(cpu, inside).then(|| small.pop())?)
    }

    /// Changes whenever frames come to a place where a search may have been already.
    fn arrivals(&self) -> (u32, u64) {
        (self.unpromised.additions(), self.bitmap.put_backs())
    }
}
