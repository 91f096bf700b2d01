//! The regions under test: taken when a method that needs them comes, and given back when work comes that needs the memory.

use crate::content::CHUNK_BLOCKS;
use crate::kernel::{BLOCK_LEN, Block};
use crate::memory::{RealRegion, Region};
use crate::platform::Platform;
use crate::program::RESERVE_BYTES;
use alloc::vec::Vec;

/// Length of the largest region in bytes, and of the smallest worth having.
const REGION_MAX: u64 = 1 << 30;
pub(crate) const REGION_MIN: u64 = (2 * CHUNK_BLOCKS * BLOCK_LEN) as u64;
/// Most regions.
const REGIONS_MAX: usize = 4096;

/// What is left free beside when the regions are taken after other work, which the heap may have noted things about.
const SLACK_BYTES: u64 = 256 << 10;

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

    /// How many blocks can be held, also after other work that gives back what it takes. Touches no memory.
    pub(crate) fn measure(&mut self, platform: &impl Platform) -> usize {
        let most = platform.free_bytes().saturating_sub(RESERVE_BYTES + SLACK_BYTES);
        self.wanted_bytes = self.wanted_bytes.min(most);
        let reserved = take_each(platform, self.wanted_bytes, |blocks| {
            let mut memory = Vec::<Block>::new();
            memory.try_reserve_exact(blocks).ok().map(|()| memory)
        });
        reserved.iter().map(Vec::capacity).sum()
    }

    /// Takes them, if they are not held.
    pub(crate) fn hold(&mut self, platform: &impl Platform) {
        if self.held.is_empty() {
            let take = |blocks| RealRegion::take(blocks, platform.kernels());
            self.held = take_each(platform, self.wanted_bytes, take);
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

/// Takes memory in ever smaller pieces, whose lengths in blocks are powers of two.
fn take_each<T>(
    platform: &impl Platform,
    mut wanted_bytes: u64,
    take: impl Fn(usize) -> Option<T>,
) -> Vec<T> {
    let mut taken = Vec::new();
    if taken.try_reserve_exact(REGIONS_MAX).is_err() {
        return taken;
    }
    let mut len = REGION_MAX;
    while len >= REGION_MIN && taken.len() < REGIONS_MAX {
        let room = platform.free_bytes().saturating_sub(RESERVE_BYTES).min(wanted_bytes);
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
