//! How many frames of the bitmap are left for those who come without credit.
//!
//! Frames in the caches of CPUs do not count here: they are taken. Of the others, `unpromised` are free for anyone, and
//! the rest belongs to credits. What must hold at every moment:
//!
//! > free frames of the bitmap >= unpromised + promised + granted and not yet claimed
//!
//! - Who takes frames without credit first asks for a [`Grant`], which subtracts them here, then claims them in the
//!   bitmap. What it did not claim goes back when the grant is dropped.
//! - Who takes a promised frame of the bitmap claims it, and says so with [`Unpromised::redeem`]; nothing is
//!   subtracted, since that was done when it was promised.
//! - Who gives frames back releases them in the bitmap, then adds them here, no more than were really released.
//!
//! So a claim that is promised or granted finds its frame, wherever a handler or another CPU stands in all this. Only a
//! search that takes time can miss it: when a frame came back behind it, and another was taken ahead of it. Then the
//! number of additions has changed meanwhile, and it is worth another try.

use crate::memory::atomic::{AtomicU64, Ordering};

/// One addition, in the upper half of `state`; a carry out of it does no harm.
const ADDITION: u64 = 1 << u32::BITS;

/// Aligned so that no CPU that only reads what lies beside it waits for those that write here.
#[repr(align(128))]
#[derive(Debug)]
pub(super) struct Unpromised {
    /// Lower half: frames, of which there are never more than 32 bits can number. Upper half: additions so far.
    state: AtomicU64,
    /// Frames that credits hold.
    promised: AtomicU64,
}

/// The right to claim so many frames of the bitmap.
#[must_use = "dropping a grant gives it back"]
#[derive(Debug)]
pub(super) struct Grant<'a> {
    from: &'a Unpromised,
    frames: u64,
}

impl Unpromised {
    /// No frames.
    pub(super) fn new() -> Self {
        Self { state: AtomicU64::new(0), promised: AtomicU64::new(0) }
    }

    /// How many frames are promised to nobody.
    pub(super) fn frames(&self) -> u64 {
        frames_of(self.state.load(Ordering::Relaxed))
    }

    /// How many frames credits hold.
    pub(super) fn promised(&self) -> u64 {
        self.promised.load(Ordering::Relaxed)
    }

    /// Grants at least `least` and at most `most` frames, as many as there are; `None` if there are fewer.
    pub(super) fn grant(&self, least: u64, most: u64) -> Option<Grant<'_>> {
        let mut before = self.state.load(Ordering::Relaxed);
        loop {
            let frames = most.min(frames_of(before));
            if frames < least {
                return None;
            }
            // Acquire: partner is the Release in `add`, so that a search sees what was released before it was added.
            let after = before - frames;
            match self.state.compare_exchange_weak(before, after, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Grant { from: self, frames }),
                Err(current) => before = current,
            }
        }
    }

    /// Adds frames that were released in the bitmap.
    pub(super) fn add(&self, frames: u64) {
        if frames > 0 {
            // Release: partners are the Acquires in `grant` and `additions`.
            self.state.fetch_add(ADDITION | frames, Ordering::Release);
        }
    }

    /// Makes a grant a promise.
    pub(super) fn promise(&self, mut grant: Grant<'_>) {
        // Relaxed, here and below: this count is for the audit.
        self.promised.fetch_add(grant.frames, Ordering::Relaxed);
        grant.spend(grant.frames);
    }

    /// Notes that promised frames were claimed in the bitmap.
    pub(super) fn redeem(&self, frames: u64) {
        self.promised.fetch_sub(frames, Ordering::Relaxed);
    }

    /// Takes a promise back that no frame of the bitmap was claimed for.
    pub(super) fn give_back(&self, frames: u64) {
        if frames > 0 {
            self.redeem(frames);
            self.add(frames);
        }
    }

    /// How many additions there were: the newest number, and not one that this CPU knows from earlier.
    pub(super) fn additions(&self) -> u32 {
        // Acquire: partner is the Release in `add`. Only a read-modify-write operation is sure to see the last one.
        (self.state.fetch_add(0, Ordering::Acquire) >> u32::BITS) as u32
    }

    /// Loses count of a frame, for a test that has to find it.
    #[cfg(test)]
    #[cfg(not(loom))]
    pub(super) fn miscount(&self) {
        self.state.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Grant<'_> {
    /// How many frames may still be claimed.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Notes that so many were claimed.
    pub(super) fn spend(&mut self, frames: u64) {
        debug_assert!(frames <= self.frames, "{frames} of {} granted frames", self.frames);
        self.frames = self.frames.saturating_sub(frames);
    }
}

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        self.from.add(self.frames);
    }
}

fn frames_of(state: u64) -> u64 {
    state & (ADDITION - 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_between_its_limits_and_what_is_left_of_it_goes_back() {
        let unpromised = Unpromised::new();
        assert!(unpromised.grant(1, 1).is_none());
        unpromised.add(10);
        assert!(unpromised.grant(11, 11).is_none() && unpromised.grant(u64::MAX, u64::MAX).is_none());
        let mut grant = unpromised.grant(1, 100).unwrap();
        assert_eq!((grant.frames(), unpromised.frames()), (10, 0));
        grant.spend(4);
        drop(grant);
        assert_eq!(unpromised.frames(), 6);
        unpromised.promise(unpromised.grant(5, 5).unwrap());
        assert_eq!((unpromised.frames(), unpromised.promised()), (1, 5));
        unpromised.redeem(2);
        unpromised.give_back(3);
        assert_eq!((unpromised.frames(), unpromised.promised()), (4, 0));
    }

    #[test]
    fn additions_count_and_wrap() {
        let unpromised = Unpromised::new();
        unpromised.state.store(ADDITION.wrapping_neg() | 7, Ordering::Relaxed);
        assert_eq!(unpromised.additions(), u32::MAX);
        unpromised.add(1);
        assert_eq!((unpromised.additions(), unpromised.frames()), (0, 8));
        drop(unpromised.grant(1, 1).unwrap());
        assert_eq!(unpromised.additions(), 1, "what a grant gives back is an addition too");
    }
}
