//! Which methods find which faults, over memory that has them.

use super::*;
use crate::content::CHUNK_BLOCKS;
use crate::kernel::{Block, Pattern};
use alloc::vec;
use alloc::vec::Vec;
use std::collections::BTreeMap;

const BLOCKS: usize = 4 * CHUNK_BLOCKS;
const WORDS: usize = BLOCKS * 8;
const BASE: u64 = 0x10_0000;

/// A fault of memory.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// A bit of a word always reads this.
    StuckBit {
        word: usize,
        bit: u32,
        value: bool,
    },
    /// Writing a 1 over a 0 in one bit inverts a bit of another word.
    Coupled {
        aggressor: usize,
        victim: usize,
        bit: u32,
    },
    /// A line of the address (of words) is always 0, so that two words are one.
    AddressLine(u32),
    /// Every write to a word but the first is lost.
    LostWrite {
        word: usize,
    },
    /// Only copies over a word go wrong in one bit.
    BadMove {
        word: usize,
        bit: u32,
    },
}

struct FaultyMemory {
    words: Vec<u64>,
    writes: BTreeMap<usize, u32>,
    fault: Fault,
}

impl FaultyMemory {
    fn new(fault: Fault) -> Self {
        Self { words: vec![0; WORDS], writes: BTreeMap::new(), fault }
    }

    fn place(&self, word: usize) -> usize {
        match self.fault {
            Fault::AddressLine(line) => word & !(1 << line),
            _ => word,
        }
    }

    fn read_word(&self, word: usize) -> u64 {
        let value = self.words[self.place(word)];
        match self.fault {
            Fault::StuckBit { word: stuck, bit, value: true } if stuck == word => value | 1 << bit,
            Fault::StuckBit { word: stuck, bit, value: false } if stuck == word => value & !(1 << bit),
            _ => value,
        }
    }

    fn write_word(&mut self, word: usize, value: u64) {
        let place = self.place(word);
        match self.fault {
            Fault::LostWrite { word: lost } if lost == word => {
                let writes = self.writes.entry(word).or_default();
                *writes += 1;
                if *writes > 1 {
                    return;
                }
            }
            Fault::Coupled { aggressor, victim, bit }
                if aggressor == word && !self.words[place] & value & (1 << bit) != 0 =>
            {
                self.words[victim] ^= 1 << bit;
            }
            _ => {}
        }
        self.words[place] = value;
    }

    fn read_block(&self, block: usize) -> Block {
        Block(core::array::from_fn(|word| self.read_word(block * 8 + word)))
    }

    fn write_block(&mut self, block: usize, content: Block) {
        content.0.into_iter().enumerate().for_each(|(word, value)| self.write_word(block * 8 + word, value));
    }
}

impl Region for FaultyMemory {
    fn len_blocks(&self) -> usize {
        BLOCKS
    }

    fn address(&self) -> u64 {
        BASE
    }

    fn fill(&mut self, blocks: Range<usize>, mut pattern: Pattern) {
        for block in blocks {
            self.write_block(block, pattern.block());
            pattern.advance();
        }
    }

    fn verify(&mut self, blocks: Range<usize>, mut pattern: Pattern, report: &mut dyn FnMut(WrongBlock)) {
        for index in blocks {
            let (expected, found) = (pattern.block(), self.read_block(index));
            if expected != found {
                report(WrongBlock { index, expected, found });
            }
            pattern.advance();
        }
    }

    fn update(
        &mut self,
        blocks: Range<usize>,
        direction: Direction,
        mut old: Pattern,
        mut new: Pattern,
        report: &mut dyn FnMut(WrongBlock),
    ) {
        let mut order: Vec<usize> = blocks.collect();
        if direction == Direction::Down {
            order.reverse();
        }
        for block in order {
            self.verify(block..block + 1, old, report);
            self.write_block(block, new.block());
            old.advance();
            new.advance();
        }
    }

    fn copy(&mut self, blocks: Range<usize>, to: usize) {
        for (index, block) in blocks.enumerate() {
            let mut content = self.read_block(block);
            if let Fault::BadMove { word, bit } = self.fault
                && word / 8 == to + index
            {
                content.0[word % 8] ^= 1 << bit;
            }
            self.write_block(to + index, content);
        }
    }

    fn flip(&mut self, word: usize, bit: u32) {
        self.words[word] ^= 1 << bit;
    }
}

/// Keeps what it is told.
#[derive(Default)]
struct Witness {
    wrong: Vec<WrongWord>,
    bytes: u64,
    stop_after: Option<u64>,
}

impl Observer for Witness {
    fn wrong(&mut self, word: WrongWord) {
        self.wrong.push(word);
    }

    fn progress(&mut self, bytes: u64) -> ControlFlow<()> {
        self.bytes += bytes;
        match self.stop_after {
            Some(limit) if self.bytes >= limit => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// What a method finds in memory with a fault.
fn found(method: Method, fault: Fault) -> Vec<WrongWord> {
    let mut witness = Witness::default();
    let ended = run(method, &mut [FaultyMemory::new(fault)], 42, &mut None, &mut witness);
    assert_eq!(ended, ControlFlow::Continue(()));
    assert_eq!(witness.bytes, traffic(method, BLOCKS), "{method:?}");
    witness.wrong
}

/// The methods that find a fault.
fn finders(fault: Fault) -> Vec<&'static str> {
    Method::ALL.into_iter().filter(|method| !found(*method, fault).is_empty()).map(Method::name).collect()
}

const EVERY: [&str; 7] = [
    "address-in-address",
    "checkerboard",
    "moving-inversions",
    "walking-ones",
    "walking-zeros",
    "random",
    "block-move",
];

#[test]
fn good_memory_is_found_good() {
    assert_eq!(finders(Fault::None), [""; 0]);
}

#[test]
fn every_method_finds_a_stuck_bit_in_any_word() {
    for word in [0, 7, 8, WORDS / 2 - 1, WORDS / 2, WORDS - 1] {
        for bit in [0, 40, 63] {
            for value in [false, true] {
                let fault = Fault::StuckBit { word, bit, value };
                let finders = finders(fault);
                // Moved halves are two random words: each has the stuck value with one chance in four.
                assert!(EVERY[..6].iter().all(|name| finders.contains(name)), "{fault:?}: only {finders:?}");
            }
        }
    }
}

#[test]
fn a_wrong_word_is_reported_where_it_is() {
    let wrong = found(Method::Checkerboard, Fault::StuckBit { word: 1001, bit: 40, value: true });
    assert_eq!(wrong.len(), 1, "{wrong:x?}");
    assert_eq!(wrong[0].address, BASE + 1001 * 8);
    assert_eq!(wrong[0].expected ^ wrong[0].found, 1 << 40);
}

#[test]
fn a_lost_write_is_found_by_every_method_that_writes_twice() {
    assert_eq!(finders(Fault::LostWrite { word: 77 }), EVERY);
}

#[test]
fn a_shorted_address_line_is_found_by_what_tells_places_apart() {
    let lines = WORDS.ilog2();
    for line in 0..lines {
        let finders = finders(Fault::AddressLine(line));
        for name in ["address-in-address", "random"] {
            assert!(finders.contains(&name), "line {line}: only {finders:?}");
        }
        // With the highest line shorted both halves are one, and moving one over the other is right.
        assert_eq!(finders.contains(&"block-move"), line < lines - 1, "line {line}: {finders:?}");
    }
    // Lines within a block are found by patterns whose neighbouring words differ, too.
    assert!(finders(Fault::AddressLine(0)).contains(&"checkerboard"));
    assert!(finders(Fault::AddressLine(1)).contains(&"walking-ones"));
    assert!(!finders(Fault::AddressLine(5)).contains(&"checkerboard"), "all blocks are alike");
}

#[test]
fn coupled_cells_are_found_by_moving_inversions_whichever_comes_first() {
    for (aggressor, victim) in [(100, 5000), (5000, 100), (100, 116), (116, 100)] {
        let finders = finders(Fault::Coupled { aggressor, victim, bit: 17 });
        assert!(finders.contains(&"moving-inversions"), "{aggressor} to {victim}: only {finders:?}");
    }
    // Those that write all of memory before they read find it only when the victim is written first.
    assert!(!finders(Fault::Coupled { aggressor: 100, victim: 5000, bit: 17 }).contains(&"checkerboard"));
}

#[test]
fn a_bad_move_is_found_by_moving_alone() {
    for word in [3, WORDS / 2 + 3] {
        assert_eq!(finders(Fault::BadMove { word, bit: 5 }), ["block-move"]);
    }
}

#[test]
fn an_injected_fault_is_found_by_every_method_once_or_each_time() {
    for method in Method::ALL {
        for sticky in [false, true] {
            let mut witness = Witness::default();
            let injection = Injection { word: 999, bit: 3, sticky };
            let mut left = Some(injection);
            let _ = run(method, &mut [FaultyMemory::new(Fault::None)], 1, &mut left, &mut witness);
            assert!(!witness.wrong.is_empty(), "{method:?} {sticky}");
            assert_eq!(witness.wrong[0].address, BASE + 999 * 8);
            assert_eq!(left, Some(injection).filter(|_| sticky));
            if !sticky {
                assert_eq!(witness.wrong.len(), 1, "{method:?}");
            }
        }
    }
}

/// One fault of each kind, and the methods that find it, in the order of [`Method::ALL`].
#[test]
fn the_table_of_faults_and_the_methods_that_find_them() {
    const UPPER: usize = WORDS / 2 + 40;
    let table: [(Fault, [bool; 7]); 9] = [
        // address, checker, moving, ones, zeros, random, block-move
        (Fault::StuckBit { word: 40, bit: 17, value: true }, [true, true, true, true, true, true, true]),
        (Fault::StuckBit { word: UPPER, bit: 17, value: false }, [true, true, true, true, true, true, true]),
        (Fault::LostWrite { word: 40 }, [true, true, true, true, true, true, true]),
        (Fault::AddressLine(0), [true, true, false, true, true, true, true]),
        (Fault::AddressLine(2), [true, false, false, true, true, true, true]),
        (Fault::AddressLine(8), [true, false, true, true, true, true, true]),
        (
            Fault::Coupled { aggressor: 40, victim: UPPER, bit: 17 },
            [false, false, true, true, true, false, true],
        ),
        (
            Fault::Coupled { aggressor: UPPER, victim: 40, bit: 17 },
            [true, true, true, true, true, true, false],
        ),
        (Fault::BadMove { word: 40, bit: 17 }, [false, false, false, false, false, false, true]),
    ];
    for (fault, expected) in table {
        let seen = Method::ALL.map(|method| !found(method, fault).is_empty());
        assert_eq!(seen, expected, "{fault:?}");
    }
}

#[test]
fn a_method_stops_when_it_is_told() {
    let mut witness = Witness { stop_after: Some(1), ..Witness::default() };
    let mut regions = [FaultyMemory::new(Fault::None), FaultyMemory::new(Fault::None)];
    let ended = run(Method::Random, &mut regions, 1, &mut None, &mut witness);
    assert_eq!(ended, ControlFlow::Break(()));
    assert_eq!(witness.bytes, len_bytes(BLOCKS), "one slice");
}

#[test]
fn real_memory_and_the_model_agree() {
    use crate::kernel::Kernels;
    use crate::memory::RealRegion;
    for method in Method::ALL {
        let region = || RealRegion::take(BLOCKS, Kernels::scalar()).unwrap();
        let mut witness = Witness::default();
        let mut injection = Some(Injection { word: WORDS as u64 + 5, bit: 60, sticky: false });
        let mut regions = [region(), region()];
        let second = regions[1].address();
        assert_eq!(run(method, &mut regions, 9, &mut injection, &mut witness), ControlFlow::Continue(()));
        assert_eq!(witness.bytes, 2 * traffic(method, BLOCKS));
        assert_eq!(witness.wrong.len(), 1, "{method:?}");
        assert_eq!(witness.wrong[0].address, second + 40);
    }
}
