//! What consecutive blocks hold.

/// Words in a block.
pub const BLOCK_WORDS: usize = 8;
/// Bytes in a block: a cache line, and the widest vector.
pub const BLOCK_LEN: usize = BLOCK_WORDS * size_of::<u64>();

/// A block of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Block(pub [u64; BLOCK_WORDS]);

/// A sequence of blocks, standing at one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Every word grows by `step` from one block to the next, wrapping.
    Linear {
        /// The block it stands at.
        block: Block,
        /// What is added to each word.
        step: u64,
    },
    /// Every word is a lane of a pseudo-random sequence, xored with a mask.
    Random {
        /// The lanes, none of them 0.
        lanes: Block,
        /// All zeros or all ones, for the sequence or its complement.
        mask: u64,
    },
}

impl Pattern {
    /// The block it stands at.
    #[must_use]
    pub fn block(&self) -> Block {
        match *self {
            Self::Linear { block, .. } => block,
            Self::Random { lanes, mask } => Block(lanes.0.map(|lane| lane ^ mask)),
        }
    }

    /// Goes on to the next block.
    pub fn advance(&mut self) {
        match self {
            Self::Linear { block, step } => {
                block.0.iter_mut().for_each(|word| *word = word.wrapping_add(*step))
            }
            Self::Random { lanes, .. } => lanes.0.iter_mut().for_each(|lane| *lane = next_random(*lane)),
        }
    }

    /// What changes from block to block: words or lanes.
    pub(super) const fn state(&self) -> Block {
        match *self {
            Self::Linear { block, .. } => block,
            Self::Random { lanes, .. } => lanes,
        }
    }

    /// Goes to where the state is this.
    pub(super) const fn stand_at(&mut self, state: Block) {
        match self {
            Self::Linear { block, .. } => *block = state,
            Self::Random { lanes, .. } => *lanes = state,
        }
    }

    /// What stays the same: the step or the mask.
    pub(super) const fn constant(&self) -> u64 {
        match *self {
            Self::Linear { step, .. } => step,
            Self::Random { mask, .. } => mask,
        }
    }
}

/// The successor of a random lane: xorshift (Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8(14), 2003), of
/// period 2^64 - 1. Shifts and exclusive ors only, so that lanes advance at the speed of memory.
const fn next_random(lane: u64) -> u64 {
    let lane = lane ^ (lane << 13);
    let lane = lane ^ (lane >> 7);
    lane ^ (lane << 17)
}
