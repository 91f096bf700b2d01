//! The methods: sequences of steps over all of memory, each step finished everywhere before the next begins.
//!
//! They are those that have proved themselves in MemTest86 and memtester. Which of them finds which fault stands as a table
//! in the tests of [`execute`](crate::execute).

use crate::content::Content;
use crate::kernel::Direction;
use alloc::vec::Vec;

/// Which part of each region a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    All,
    /// The lower half.
    Lower,
    /// The upper half.
    Upper,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes a content.
    Fill(Part, Content),
    /// Reads a part and compares it with the content that was written to `from`, and moved here if that is another part.
    Verify {
        /// What is read.
        part: Part,
        /// Where the content was written.
        from: Part,
        /// The content.
        content: Content,
    },
    /// Compares each block with the old content and writes the new at once, in this order of blocks.
    Update(Direction, Content, Content),
    /// Copies one half over the other; names the source.
    Move(Part),
}

/// A method. Where it comes from stands with it; MemTest86's descriptions are in its "Technical Information".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Each word its own address, then the complement: finds address lines that are stuck or shorted, and pages mapped
    /// twice. MemTest86 test 1, "own address".
    AddressInAddress,
    /// A single 1 through each word, each position verified as the next is written: finds stuck bits, and bits that pull
    /// up their neighbours. MemTest86 test 0 and memtester's "walking ones".
    WalkingOnes,
    /// A single 0 through each word, likewise, for bits that pull down. memtester's "walking zeroes".
    WalkingZeros,
    /// A pattern, turned into its complement from below and back from above, each word verified before it is turned: finds
    /// coupled cells, and writes that are lost. MemTest86 test 3; a march test (van de Goor, "Testing Semiconductor
    /// Memories", 1991).
    MovingInversions,
    /// Neighbouring cells with opposite values, then exchanged: finds stuck bits, and leakage between cells. memtester's
    /// "checkerboard", with neighbouring words opposite, too.
    Checkerboard,
    /// Pseudo-random numbers, then their complements: finds what regular patterns hide. MemTest86 test 7.
    Random,
    /// Halves filled with random numbers and copied over each other: finds faults that only moving data shows. After
    /// MemTest86 test 6, "block move".
    BlockMove,
}

impl Method {
    /// All of them, in the order in which they run: those that find gross faults fast come first.
    pub const ALL: [Self; 7] = [
        Self::AddressInAddress,
        Self::Checkerboard,
        Self::MovingInversions,
        Self::WalkingOnes,
        Self::WalkingZeros,
        Self::Random,
        Self::BlockMove,
    ];

    /// The name on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AddressInAddress => "address-in-address",
            Self::WalkingOnes => "walking-ones",
            Self::WalkingZeros => "walking-zeros",
            Self::MovingInversions => "moving-inversions",
            Self::Checkerboard => "checkerboard",
            Self::Random => "random",
            Self::BlockMove => "block-move",
        }
    }

    /// What it does and which faults it is for, in a line.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::AddressInAddress => "each word its own address: address lines, pages mapped twice",
            Self::WalkingOnes => {
                "a single 1 through each word: stuck bits, bits that pull up their neighbours"
            }
            Self::WalkingZeros => {
                "a single 0 through each word: stuck bits, bits that pull down their neighbours"
            }
            Self::MovingInversions => "inverted word by word from both ends: coupled cells, lost writes",
            Self::Checkerboard => "opposite neighbours, exchanged: stuck bits, leakage between cells",
            Self::Random => "random words and their complements: what regular patterns hide",
            Self::BlockMove => "halves copied over each other: faults of moving data, address lines",
        }
    }

    /// The method with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Its steps. `seed` is for those that use random numbers.
    #[must_use]
    pub fn steps(self, seed: u64) -> Vec<Step> {
        match self {
            Self::AddressInAddress => {
                fill_and_verify([false, true].map(|inverted| Content::Address { inverted }))
            }
            Self::WalkingOnes => walk(false),
            Self::WalkingZeros => walk(true),
            Self::MovingInversions => [(0, u64::MAX), (u64::MAX / 15 * 3, u64::MAX / 15 * 12)]
                .into_iter()
                .flat_map(|(pattern, complement)| {
                    let [pattern, complement] = [pattern, complement].map(|word| Content::Words(word, word));
                    [
                        Step::Fill(Part::All, pattern),
                        Step::Update(Direction::Up, pattern, complement),
                        Step::Update(Direction::Down, complement, pattern),
                        verify(pattern),
                    ]
                })
                .collect(),
            Self::Checkerboard => {
                const BLACK: u64 = u64::MAX / 3;
                fill_and_verify([Content::Words(BLACK, !BLACK), Content::Words(!BLACK, BLACK)])
            }
            Self::Random => fill_and_verify([false, true].map(|inverted| Content::Random { seed, inverted })),
            Self::BlockMove => {
                let [content, other] =
                    [false, true].map(|inverted| Content::Random { seed: !seed, inverted });
                [(Part::Lower, Part::Upper, content), (Part::Upper, Part::Lower, other)]
                    .into_iter()
                    .flat_map(|(from, to, content)| {
                        [
                            Step::Fill(from, content),
                            Step::Move(from),
                            Step::Verify { part: to, from, content },
                            Step::Verify { part: from, from, content },
                        ]
                    })
                    .collect()
            }
        }
    }
}

/// Compares all of memory with a content.
const fn verify(content: Content) -> Step {
    Step::Verify { part: Part::All, from: Part::All, content }
}

/// One content after the other, each verified when all of it is written.
fn fill_and_verify(contents: [Content; 2]) -> Vec<Step> {
    contents.into_iter().flat_map(|content| [Step::Fill(Part::All, content), verify(content)]).collect()
}

/// A bit through all positions, each position verified while the next is written.
fn walk(inverted: bool) -> Vec<Step> {
    let content = |first| Content::WalkingBit { first, inverted };
    let updates = (1..u64::BITS).map(|first| Step::Update(Direction::Up, content(first - 1), content(first)));
    let ends = [Step::Fill(Part::All, content(0)), verify(content(u64::BITS - 1))];
    ends.into_iter().take(1).chain(updates).chain(ends.into_iter().skip(1)).collect()
}
