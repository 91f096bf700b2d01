//! The arrays that the allocator works on: plain, and one to one with physical frame numbers from 0, so that a VMM can
//! read them from outside.

use super::CpuFrames;
use super::area::{AREA_FRAMES, AREA_WORDS, WORD_FRAMES};
use crate::memory::atomic::{AtomicU8, AtomicU16, AtomicU64};
use core::fmt;

/// Memory of a [`FrameAllocator`](super::FrameAllocator). Its length is that of `states`, in 4 KiB frames; what the
/// arrays contain at first does not matter.
#[derive(Clone, Copy, Debug)]
pub struct FrameArrays<'a> {
    /// A bit a frame, the lowest frame in the lowest bit: 1 if it is not free.
    pub bitmap: &'a [AtomicU64],
    /// A number an area of 2 MiB: its free frames that nobody has begun to take.
    pub areas: &'a [AtomicU16],
    /// A bit an area: it may have free frames. A hint.
    pub nonempty: &'a [AtomicU64],
    /// A bit an area: it may be free as a whole. A hint.
    pub whole: &'a [AtomicU64],
    /// A byte a frame: an encoded [`FrameState`](super::FrameState).
    pub states: &'a [AtomicU8],
    /// A word a frame, for its owner: the live entries of a node, the link of a batch.
    pub words: &'a [AtomicU64],
    /// A byte a frame, for the audit.
    pub marks: &'a [AtomicU8],
    /// The caches, one a CPU.
    pub cpus: &'a [CpuFrames],
}

/// How many elements each of the [`FrameArrays`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameArrayLengths {
    /// Of [`FrameArrays::bitmap`].
    pub bitmap: usize,
    /// Of [`FrameArrays::areas`].
    pub areas: usize,
    /// Of [`FrameArrays::nonempty`] and of [`FrameArrays::whole`].
    pub hints: usize,
    /// Of [`FrameArrays::states`], [`FrameArrays::words`] and [`FrameArrays::marks`].
    pub frames: usize,
    /// Of [`FrameArrays::cpus`].
    pub cpus: usize,
}

impl FrameArrayLengths {
    /// What the frames with numbers below `frames` need, used by `cpus` CPUs.
    #[must_use]
    pub const fn new(frames: usize, cpus: usize) -> Self {
        let areas = frames.div_ceil(AREA_FRAMES as usize);
        let hints = areas.div_ceil(WORD_FRAMES as usize);
        Self { bitmap: areas * AREA_WORDS, areas, hints, frames, cpus }
    }
}

/// Arrays that no allocator can work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameArraysError {
    /// The arrays do not fit together; see [`FrameArrayLengths::new`].
    Lengths {
        /// What `states` and `cpus` ask of the others.
        needed: FrameArrayLengths,
        /// The first array that differs.
        array: &'static str,
        /// Its length.
        len: usize,
    },
    /// There is no CPU.
    NoCpus,
    /// More frames than frame numbers of 32 bits; 16 TiB are the most.
    TooManyFrames {
        /// How many.
        frames: usize,
    },
}

impl FrameArrays<'_> {
    /// Checks the lengths.
    pub(super) fn check(&self) -> Result<(), FrameArraysError> {
        if self.cpus.is_empty() {
            return Err(FrameArraysError::NoCpus);
        }
        if u32::try_from(self.states.len()).is_err() {
            return Err(FrameArraysError::TooManyFrames { frames: self.states.len() });
        }
        let needed = FrameArrayLengths::new(self.states.len(), self.cpus.len());
        let lengths = [
            ("bitmap", self.bitmap.len(), needed.bitmap),
            ("areas", self.areas.len(), needed.areas),
            ("nonempty", self.nonempty.len(), needed.hints),
            ("whole", self.whole.len(), needed.hints),
            ("words", self.words.len(), needed.frames),
            ("marks", self.marks.len(), needed.frames),
        ];
        match lengths.into_iter().find(|(_, len, needed)| len != needed) {
            Some((array, len, _)) => Err(FrameArraysError::Lengths { needed, array, len }),
            None => Ok(()),
        }
    }
}

impl fmt::Display for FrameArraysError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lengths { needed, array, len } => {
                let FrameArrayLengths { frames, cpus, .. } = needed;
                write!(
                    formatter,
                    "the frame array `{array}` has {len} elements, which does not fit {frames} frames and {cpus} CPUs"
                )
            }
            Self::NoCpus => formatter.write_str("frame arrays without a CPU; give at least one `CpuFrames`"),
            Self::TooManyFrames { frames } => {
                write!(
                    formatter,
                    "{frames} frames are more than 32 bits can number; leave out the highest RAM"
                )
            }
        }
    }
}

impl core::error::Error for FrameArraysError {}
