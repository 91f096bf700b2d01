//! Patterns that memory is filled with and verified against.
//!
//! A pattern says what each word holds from the word's address alone, so that a whole memory can be filled before any of
//! it is verified. Both run over plain slices, in the guest and in the tests on the host alike.
#![no_std]

#[cfg(test)]
extern crate alloc;

use core::hint::black_box;

/// Bytes in a word, the unit of patterns.
pub const WORD_LEN: usize = size_of::<u64>();

/// What memory is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Each word holds its own address: finds address lines that are stuck or shorted, and pages mapped twice.
    AddressInAddress,
    /// Each word holds a pseudo-random number made of its address and a seed: finds what regular patterns hide.
    Random {
        /// Another seed gives other numbers.
        seed: u64,
    },
}

/// A word that did not hold what was written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongWord {
    /// Its address.
    pub address: u64,
    /// What was written.
    pub expected: u64,
    /// What it held.
    pub found: u64,
}

impl Pattern {
    /// The name used in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AddressInAddress => "address-in-address",
            Self::Random { .. } => "random",
        }
    }

    /// What the word at `address` holds.
    #[must_use]
    #[inline]
    pub const fn word(self, address: u64) -> u64 {
        match self {
            Self::AddressInAddress => address,
            Self::Random { seed } => mix(address ^ seed),
        }
    }

    /// Fills a block.
    pub fn fill(self, block: &mut [u64]) {
        let start = block.as_ptr() as u64;
        // One loop a pattern, so that the choice is not made for every word.
        match self {
            Self::AddressInAddress => fill_words(block, start, |address| address),
            Self::Random { .. } => fill_words(block, start, |address| self.word(address)),
        }
        // The words must be stored: nobody may conclude what a later read will find.
        black_box(block);
    }

    /// Verifies a block that was filled, and reports each wrong word. Returns how many there were.
    pub fn verify(self, block: &[u64], report: impl FnMut(WrongWord)) -> u64 {
        let block = black_box(block);
        match self {
            Self::AddressInAddress => verify_words(block, |address| address, report),
            Self::Random { .. } => verify_words(block, |address| self.word(address), report),
        }
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014): a
/// bijection in which every input bit changes about half of the output bits.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn fill_words(block: &mut [u64], start: u64, word: impl Fn(u64) -> u64) {
    let mut address = start;
    for place in block {
        *place = word(address);
        address += WORD_LEN as u64;
    }
}

fn verify_words(block: &[u64], word: impl Fn(u64) -> u64, mut report: impl FnMut(WrongWord)) -> u64 {
    /// Words compared at once, before looking whether any was wrong.
    const STRIDE: usize = 8;
    let mut wrong = 0;
    let mut address = block.as_ptr() as u64;
    for words in block.chunks(STRIDE) {
        let mut differing = 0;
        for (index, found) in words.iter().enumerate() {
            differing |= found ^ word(address + (index * WORD_LEN) as u64);
        }
        if differing != 0 {
            for (index, &found) in words.iter().enumerate() {
                let address = address + (index * WORD_LEN) as u64;
                let expected = word(address);
                if found != expected {
                    wrong += 1;
                    report(WrongWord { address, expected, found });
                }
            }
        }
        address += size_of_val(words) as u64;
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    const PATTERNS: [Pattern; 2] = [Pattern::AddressInAddress, Pattern::Random { seed: 7 }];

    #[test]
    fn what_was_filled_verifies() {
        for pattern in PATTERNS {
            for len in [0, 1, 7, 8, 9, 1000] {
                let mut block = vec![0; len];
                pattern.fill(&mut block);
                assert_eq!(pattern.verify(&block, |word| panic!("{pattern:?}: {word:?}")), 0);
            }
        }
    }

    #[test]
    fn every_changed_bit_is_found_where_it_is() {
        for pattern in PATTERNS {
            let mut block = vec![0; 41];
            pattern.fill(&mut block);
            for index in 0..block.len() {
                for bit in [0, 31, 63] {
                    let expected = block[index];
                    block[index] ^= 1 << bit;
                    let mut found = Vec::new();
                    assert_eq!(pattern.verify(&block, |word| found.push(word)), 1);
                    let address = &raw const block[index] as u64;
                    assert_eq!(found, [WrongWord { address, expected, found: expected ^ 1 << bit }]);
                    block[index] = expected;
                }
            }
        }
    }

    #[test]
    fn a_block_that_shows_another_ones_words_is_wrong_throughout() {
        for pattern in PATTERNS {
            let mut first = vec![0; 64];
            let mut second = vec![0; 64];
            pattern.fill(&mut first);
            second.copy_from_slice(&first);
            assert_eq!(pattern.verify(&second, |_| ()), 64, "{pattern:?}");
        }
    }

    #[test]
    fn another_seed_gives_other_words() {
        let words = |seed| (0..100_u64).map(move |index| Pattern::Random { seed }.word(index * 8));
        assert!(words(1).zip(words(2)).all(|(one, other)| one != other));
    }
}
