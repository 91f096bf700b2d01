use super::*;
use alloc::vec;
use alloc::vec::Vec;

/// All sets of loops that this processor can run.
fn all() -> Vec<Kernels> {
    let mut all = vec![Kernels::scalar()];
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: just detected, which includes that the system has enabled them.
        all.push(unsafe { Kernels::new(Vectors::Avx2) });
    }
    if std::is_x86_feature_detected!("avx512f") {
        // SAFETY: as above.
        all.push(unsafe { Kernels::new(Vectors::Avx512) });
    }
    all
}

fn patterns() -> [Pattern; 4] {
    let words = |first: u64| Block(core::array::from_fn(|index| first + 8 * index as u64));
    [
        Pattern::Linear { block: Block([0x5555_5555_5555_5555; 8]), step: 0 },
        Pattern::Linear { block: words(0x7f00_0000_0000), step: 64 },
        Pattern::Random { lanes: words(1), mask: 0 },
        Pattern::Random { lanes: words(99), mask: u64::MAX },
    ]
}

/// The blocks of a pattern, made by the pattern itself.
fn model(mut pattern: Pattern, len: usize) -> (Vec<Block>, Pattern) {
    let blocks = (0..len)
        .map(|_| {
            let block = pattern.block();
            pattern.advance();
            block
        })
        .collect();
    (blocks, pattern)
}

const LENS: [usize; 6] = [0, 1, 2, 3, 64, 1001];

#[test]
fn every_set_fills_and_verifies_what_the_pattern_says() {
    for kernels in all() {
        for pattern in patterns() {
            for len in LENS {
                let (expected, end) = model(pattern, len);
                let mut blocks = vec![Block([7; 8]); len + 2];
                let mut standing = pattern;
                kernels.fill(&mut blocks[1..=len], &mut standing);
                assert_eq!(blocks[1..=len], expected, "{kernels:?} {pattern:?}");
                assert_eq!(standing, end);
                assert_eq!(
                    (blocks[0], blocks[len + 1]),
                    (Block([7; 8]), Block([7; 8])),
                    "wrote beyond the ends"
                );
                standing = pattern;
                kernels.verify(&blocks[1..=len], &mut standing, |wrong| panic!("{wrong:?}"));
                assert_eq!(standing, end);
            }
        }
    }
}

#[test]
fn every_set_finds_each_wrong_word_and_goes_on() {
    for kernels in all() {
        for pattern in patterns() {
            let (right, end) = model(pattern, 9);
            for (first, second) in [(0, 8), (3, 4), (7, 7)] {
                let mut blocks = right.clone();
                blocks[first].0[5] ^= 1 << 63;
                blocks[second].0[0] ^= 1;
                let mut wrong = Vec::new();
                let mut standing = pattern;
                kernels.verify(&blocks, &mut standing, |block| wrong.push(block));
                let mut expected = vec![first, second];
                expected.dedup();
                let expected: Vec<WrongBlock> = expected
                    .into_iter()
                    .map(|index| WrongBlock { index, expected: right[index], found: blocks[index] })
                    .collect();
                assert_eq!(wrong, expected, "{kernels:?} {pattern:?}");
                assert_eq!(standing, end);
            }
        }
    }
}

#[test]
fn updates_go_both_ways_and_repair_what_they_find() {
    for kernels in all() {
        for (direction, wrong_at) in
            [(Direction::Up, 0), (Direction::Up, 6), (Direction::Down, 6), (Direction::Down, 2)]
        {
            let step = if direction == Direction::Up { 1 } else { u64::MAX };
            let old = Pattern::Linear { block: Block([100; 8]), step };
            let new = Pattern::Linear { block: Block([5000; 8]), step: 0 };
            let (mut blocks, _) = model(old, 7);
            if direction == Direction::Down {
                blocks.reverse();
            }
            let expected = blocks[wrong_at];
            blocks[wrong_at].0[1] = 3;
            let found = blocks[wrong_at];
            let mut wrong = Vec::new();
            kernels.update(&mut blocks, direction, &mut old.clone(), &mut new.clone(), |block| {
                wrong.push(block)
            });
            assert_eq!(wrong, [WrongBlock { index: wrong_at, expected, found }], "{kernels:?} {direction:?}");
            assert_eq!(blocks, [Block([5000; 8]); 7]);
        }
    }
}

#[test]
fn copies_are_exact_and_reads_see_every_word() {
    for kernels in all() {
        for len in LENS {
            let (from, _) = model(patterns()[2], len);
            let mut to = vec![Block([7; 8]); len + 1];
            kernels.copy(&mut to, &from);
            assert_eq!(to[..len], from);
            assert_eq!(to[len], Block([7; 8]));
            let sum = from.iter().flat_map(|block| block.0).fold(0, |sum, word| sum ^ word);
            assert_eq!(kernels.read(&from), sum, "{kernels:?}");
            to.fill(Block([7; 8]));
            copy_string(&mut to, &from);
            assert_eq!(to[..len], from);
            fill_string(&mut to[..len], 9);
            assert!(to[..len].iter().all(|block| *block == Block([9; 8])));
            assert_eq!(to[len], Block([7; 8]));
        }
    }
}
