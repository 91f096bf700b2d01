//! The regions under test: taken when a method that needs them comes, and given back when work comes that needs the memory.

use crate::content::CHUNK_BLOCKS;
use crate::kernel::{BLOCK_LEN, Block};
use crate::memory::{RealRegion, Region, len_bytes};
use crate::platform::Platform;
use crate::program::RESERVE_BYTES;
use alloc::vec::Vec;

/// Length of the largest region in bytes, and of the smallest worth having.
const REGION_MAX: u64 = 1 << 30;
pub(crate) const REGION_MIN: u64 = (2 * CHUNK_BLOCKS * BLOCK_LEN) as u64;

/// What the run comes to hold between measuring and taking: the figures of churns. They are some kilobytes, but each length
/// of blocks in use has a span of the heap to itself: of 256 KiB for the list of parts, which is the longest block, of 64 KiB
/// for those of more than a kilobyte, and of 16 KiB for others, of which there are fewer than ten lengths.
const NOTES_BYTES: u64 = 512 << 10;

/// Regions, held or not.
pub(crate) struct Regions {
    wanted_bytes: u64,
    held: Vec<RealRegion>,
}

impl Regions {
    /// None held, but so many bytes wanted.
    pub(crate) const fn new(wanted_bytes: u64) -> Self {
        Self { wanted_bytes, held: Vec::new() }
    }

    /// How many blocks can be held, also after other work that gives back what it takes; no more are wanted from here on.
    /// Touches no memory.
    pub(crate) fn measure(&mut self, platform: &impl Platform) -> usize {
        let reserved = take_each(platform, RESERVE_BYTES + NOTES_BYTES, self.wanted_bytes, |blocks| {
            let mut memory = Vec::<Block>::new();
            memory.try_reserve_exact(blocks).ok().map(|()| memory)
        });
        let blocks = reserved.iter().map(Vec::capacity).sum();
        self.wanted_bytes = len_bytes(blocks);
        blocks
    }

    /// Takes them, if they are not held.
    pub(crate) fn hold(&mut self, platform: &impl Platform) {
        if self.held.is_empty() {
            let take = |blocks| RealRegion::take(blocks, platform.kernels());
            self.held = take_each(platform, RESERVE_BYTES, self.wanted_bytes, take);
        }
    }

    /// Gives them back.
    pub(crate) fn release(&mut self) {
        self.held = Vec::new();
    }

    /// Those that are held.
    pub(crate) fn held(&mut self) -> &mut [RealRegion] {
        &mut self.held
    }

    /// How many blocks are held.
    pub(crate) fn len_blocks(&self) -> usize {
        self.held.iter().map(Region::len_blocks).sum()
    }
}

/// Takes memory in ever smaller pieces, whose lengths in blocks are powers of two. So many bytes are left free when all are
/// taken, with what the pieces cost beside their lengths.
fn take_each<T>(
    platform: &impl Platform,
    left_bytes: u64,
    mut wanted_bytes: u64,
    take: impl Fn(usize) -> Option<T>,
) -> Vec<T> {
    let mut taken = Vec::new();
    // No piece is asked for that seems too long, so the allocator would keep what it has at hand.
    platform.trim();
    let mut len = REGION_MAX;
    // The list grows as it must: one with room for many regions is so long that the heap would open an arena of a MiB for it.
    while len >= REGION_MIN && taken.try_reserve(1).is_ok() {
        let room = platform.free_bytes().saturating_sub(left_bytes).min(wanted_bytes);
        match if room < len { None } else { take(len as usize / BLOCK_LEN) } {
            Some(piece) => {
                wanted_bytes -= len;
                taken.push(piece);
            }
            None => len /= 2,
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::tests::Host;

    #[test]
    fn so_much_is_left_free_as_is_asked_for_whatever_each_piece_costs_beside() {
        const LEFT: u64 = 100 << 10;
        for cost in [0, 4 << 10, 40 << 10] {
            let host = Host::new(8 << 20);
            let taken = take_each(&host, LEFT, u64::MAX, |blocks| {
                let len = len_bytes(blocks);
                // One length that is free is not to be had, as where memory is in pieces.
                let left = host.free.get().checked_sub(len + cost).filter(|_| len != 1 << 20)?;
                host.free.set(left);
                Some(len)
            });
            let free = host.free.get();
            assert!((LEFT - cost..LEFT + REGION_MIN).contains(&free), "{free} with {taken:?}");
            assert!(taken.is_sorted_by(|longer, shorter| longer >= shorter), "{taken:?}");
        }
    }

    #[test]
    fn what_is_at_hand_counts_and_no_more_is_taken_than_wanted() {
        let host = Host::new(1 << 20);
        host.at_hand.set(3 << 20);
        let take = |blocks| Some(len_bytes(blocks));
        assert_eq!(take_each(&host, 1 << 20, 5 << 19, take), [2 << 20, 1 << 19]);
    }

    #[test]
    fn what_was_measured_is_taken_when_the_notes_have_come() {
        let mut regions = Regions::new(REGION_MIN);
        let host = Host::new(RESERVE_BYTES + NOTES_BYTES + REGION_MIN);
        assert_eq!(len_bytes(regions.measure(&host)), REGION_MIN);
        host.free.update(|bytes| bytes - NOTES_BYTES);
        regions.hold(&host);
        assert_eq!(len_bytes(regions.len_blocks()), REGION_MIN);
        // Less is free than before: nothing is measured, and later nothing taken.
        let mut regions = Regions::new(REGION_MIN);
        assert_eq!(regions.measure(&host), 0);
        regions.hold(&host);
        assert_eq!(regions.len_blocks(), 0);
    }
}
