//! What a method writes into memory, as a function of where a block lies.

use crate::kernel::{BLOCK_LEN, BLOCK_WORDS, Block, Pattern};

/// Blocks after which a random sequence starts anew, from a seed made of the place. A place's content can then be known
/// without going through all that lies below.
pub const CHUNK_BLOCKS: usize = 256;

/// Content of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Words with even and with odd index.
    Words(u64, u64),
    /// Word `n` of each block has only bit `first + n` (modulo 64) set; complemented if `inverted`. Neighbouring words
    /// differ, and a walk of `first` from 0 to 63 takes each bit through each word.
    WalkingBit {
        /// The bit of word 0.
        first: u32,
        /// Whether it is the only 0 instead.
        inverted: bool,
    },
    /// Each word holds its address, or its complement.
    Address {
        /// Whether it is the complement.
        inverted: bool,
    },
    /// Pseudo-random numbers, or their complements.
    Random {
        /// Another seed gives other numbers.
        seed: u64,
        /// Whether it is the complement.
        inverted: bool,
    },
}

impl Content {
    /// The content from the block with this index on, in memory that starts at `base`, as a pattern for going up. It holds
    /// up to the end of the block's chunk.
    #[must_use]
    pub fn at(self, base: u64, index: usize) -> Pattern {
        let address = base.wrapping_add((index * BLOCK_LEN) as u64);
        match self {
            Self::Words(even, odd) => {
                Pattern::Linear { block: words(|word| if word % 2 == 0 { even } else { odd }), step: 0 }
            }
            Self::WalkingBit { first, inverted } => {
                let bit = |word: usize| 1_u64.rotate_left(first + word as u32);
                Pattern::Linear { block: words(|word| bit(word) ^ mask(inverted)), step: 0 }
            }
            Self::Address { inverted } => {
                let own = |word: usize| address.wrapping_add((word * size_of::<u64>()) as u64);
                let step = BLOCK_LEN as u64;
                Pattern::Linear {
                    block: words(|word| own(word) ^ mask(inverted)),
                    // The complement goes down as the address goes up.
                    step: if inverted { step.wrapping_neg() } else { step },
                }
            }
            Self::Random { seed, inverted } => {
                let chunk = base.wrapping_add((index / CHUNK_BLOCKS * CHUNK_BLOCKS * BLOCK_LEN) as u64);
                let lanes = words(|word| mix(chunk ^ seed.wrapping_add((word as u64) << 56)) | 1);
                let mut pattern = Pattern::Random { lanes, mask: mask(inverted) };
                for _ in 0..index % CHUNK_BLOCKS {
                    pattern.advance();
                }
                pattern
            }
        }
    }

    /// The content from the block with this index down. Only linear contents can go down.
    #[must_use]
    pub fn down_from(self, base: u64, index: usize) -> Option<Pattern> {
        match self.at(base, index) {
            Pattern::Linear { block, step } => Some(Pattern::Linear { block, step: step.wrapping_neg() }),
            Pattern::Random { .. } => None,
        }
    }
}

/// A block by its words.
fn words(word: impl FnMut(usize) -> u64) -> Block {
    let words: [u64; BLOCK_WORDS] = core::array::from_fn(word);
    Block(words)
}

const fn mask(inverted: bool) -> u64 {
    if inverted { u64::MAX } else { 0 }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014): a
/// bijection in which every input bit changes about half of the output bits.
#[must_use]
pub const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x1234_0000;
    const CONTENTS: [Content; 6] = [
        Content::Words(1, 2),
        Content::WalkingBit { first: 60, inverted: true },
        Content::Address { inverted: false },
        Content::Address { inverted: true },
        Content::Random { seed: 5, inverted: false },
        Content::Random { seed: 5, inverted: true },
    ];

    #[test]
    fn a_place_holds_the_same_wherever_one_starts() {
        for content in CONTENTS {
            for start in [0, 1, 255, 256, 300] {
                let mut pattern = content.at(BASE, start);
                for index in start..(start / CHUNK_BLOCKS + 1) * CHUNK_BLOCKS {
                    assert_eq!(pattern.block(), content.at(BASE, index).block(), "{content:?} {index}");
                    pattern.advance();
                }
            }
        }
    }

    #[test]
    fn going_down_meets_what_going_up_wrote() {
        for content in CONTENTS {
            let Some(mut pattern) = content.down_from(BASE, 9) else { continue };
            for index in (0..=9).rev() {
                assert_eq!(pattern.block(), content.at(BASE, index).block(), "{content:?}");
                pattern.advance();
            }
        }
    }

    #[test]
    fn words_are_what_the_names_say() {
        assert_eq!(Content::Address { inverted: false }.at(BASE, 1).block().0[2], BASE + 64 + 16);
        assert_eq!(Content::Address { inverted: true }.at(BASE, 1).block().0[2], !(BASE + 64 + 16));
        let walking = Content::WalkingBit { first: 62, inverted: false }.at(BASE, 7).block();
        assert_eq!(walking.0[..4], [1 << 62, 1 << 63, 1, 2]);
        let random = |seed, inverted| Content::Random { seed, inverted }.at(BASE, 3).block().0;
        assert!(random(1, false).iter().zip(random(1, true)).all(|(word, other)| *word == !other));
        assert!(random(1, false).iter().zip(random(2, false)).all(|(word, other)| *word != other));
    }

    #[test]
    fn chunks_and_lanes_are_not_alike() {
        let random = Content::Random { seed: 0, inverted: false };
        let mut all: alloc::vec::Vec<u64> =
            (0..64).flat_map(|chunk| random.at(BASE, chunk * CHUNK_BLOCKS).block().0).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 64 * BLOCK_WORDS);
    }
}
