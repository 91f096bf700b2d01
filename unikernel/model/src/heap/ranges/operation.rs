//! What is done to a source of ranges, and in the machine around it, from bytes.

use crate::bytes::Bytes;
use unikernel::memory::heap::GRANULE_LEN;
use unikernel::memory::heap::demand::BLOCK_LEN;

/// A machine with a region of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeMachine {
    /// Paging as KVM_PVM has it, else as ring 0.
    pub(super) pvm: bool,
    pub(super) frames: usize,
    /// Of 2 MiB, the first of which is for the notes.
    pub(super) blocks: usize,
    /// Whether at the end all pages are touched that can be, while others have taken all frames that they could.
    pub(super) touch_all: bool,
}

/// What is done. Ranges, and what others hold, are numbered, modulo how many there are; places in a range, in bytes, modulo
/// its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeOperation {
    /// A range for the heap.
    Take { granules: usize, align_bytes: usize, high: bool, zeroed: bool },
    /// A range of which parts may go back.
    Reserve { granules: usize },
    /// A range goes back.
    GiveBack { which: u8 },
    /// A range grows or shrinks where it is.
    Resize { which: u8, granules: usize },
    /// A range moves, and grows by so much.
    Relocate { which: u8, more: usize },
    /// A part goes back.
    GiveBackPart { which: u8, at: usize, len_bytes: usize },
    /// What is missing of a part is handed out again.
    HandOutAgain { which: u8, at: usize, granules: usize },
    /// A page fault in a range.
    Touch { which: u8, at: usize },
    /// One in each of so many granules.
    TouchMany { which: u8, at: usize, granules: usize },
    /// A page fault anywhere, so many granules from the start of the region.
    Stray { granule: usize },
    /// What is kept goes back.
    Trim,
    /// Others take frames.
    Hold(Hold),
    /// Others give some back.
    Release { which: u8 },
    /// Others take frames that were promised to them.
    Redeem { which: u8, frames: u64 },
}

/// What others take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// So many frames.
    Batch(u64),
    /// So many side by side.
    Run(u64),
    /// A frame of 2 MiB.
    Large,
    /// The promise of so many.
    Credit(u64),
    /// All but so many.
    BatchBut(u64),
    /// The promise of all but so many.
    CreditBut(u64),
}

impl RangeMachine {
    pub(in crate::heap) fn decode(bytes: &mut Bytes<'_>) -> Self {
        let (flags, blocks) = (bytes.byte(), usize::from(bytes.byte()));
        let (frames_max, blocks_max) = if cfg!(miri) { (900, 5) } else { (6000, 48) };
        Self {
            pvm: flags & 1 == 1,
            touch_all: flags & 2 == 2,
            frames: 300 + bytes.two() % (frames_max - 300),
            // Of half of all machines the addresses are as scarce as the frames.
            blocks: 2 + blocks / 2 % if blocks % 2 == 0 { 4 } else { blocks_max - 1 },
        }
    }
}

fn granules(bytes: &mut Bytes<'_>) -> usize {
    let (how, low) = (bytes.byte(), usize::from(bytes.byte()));
    match how % 8 {
        0..=3 => 1 + low % 20,
        4 => 1 + low,
        // Around whole blocks.
        5 | 6 => (BLOCK_LEN as usize / GRANULE_LEN) * (1 + low % 5) + usize::from(how >> 3) % 3 - 1,
        _ => 1 + low * 3,
    }
}

impl RangeOperation {
    pub(in crate::heap) fn decode(bytes: &mut Bytes<'_>) -> Self {
        let (code, which) = (bytes.byte(), bytes.byte());
        let place = |bytes: &mut Bytes<'_>| bytes.two() << 12 | usize::from(which & 7);
        match code % 32 {
            0..=5 => Self::Take {
                granules: granules(bytes),
                align_bytes: bytes.one_of([
                    GRANULE_LEN,
                    GRANULE_LEN,
                    4 * GRANULE_LEN,
                    BLOCK_LEN as usize,
                    2 * BLOCK_LEN as usize,
                    GRANULE_LEN,
                ]),
                high: which & 1 == 1,
                zeroed: which & 2 == 2,
            },
            6 | 7 => Self::Reserve { granules: granules(bytes) },
            8..=10 => Self::GiveBack { which },
            11..=13 => Self::Resize { which, granules: granules(bytes) },
            14 | 15 => Self::Relocate { which, more: granules(bytes) },
            16 | 17 => Self::GiveBackPart {
                which,
                at: place(bytes),
                len_bytes: granules(bytes) * GRANULE_LEN + (bytes.two() & 0x3fff),
            },
            18 => Self::HandOutAgain { which, at: place(bytes), granules: granules(bytes) },
            19..=21 => Self::Touch { which, at: place(bytes) },
            22 | 23 => Self::TouchMany { which, at: place(bytes), granules: granules(bytes) },
            24 => Self::Stray { granule: bytes.two() },
            25 => Self::Trim,
            26 | 27 => Self::Hold(Hold::decode(bytes)),
            28..=30 => Self::Release { which },
            _ => Self::Redeem { which, frames: bytes.byte().into() },
        }
    }
}

impl Hold {
    fn decode(bytes: &mut Bytes<'_>) -> Self {
        let (how, frames) = (bytes.byte(), bytes.two() as u64);
        match how % 8 {
            0 => Self::Batch(frames % 1024),
            1 => Self::Run(1 + frames % 600),
            2 => Self::Large,
            3 => Self::Credit(frames % 1024),
            4 | 5 => Self::BatchBut(frames % 64),
            6 => Self::CreditBut(frames % 64),
            _ => Self::BatchBut(frames % 1024),
        }
    }
}
