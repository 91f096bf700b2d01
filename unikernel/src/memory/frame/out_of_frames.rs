//! The one way in which asking for memory fails.

use super::{FrameSource, FrameStatistics};
use crate::memory::page_size::PageSize;
use core::fmt;

/// There were not as many free frames that are promised to nobody, or not side by side. Nothing was taken.
///
/// Frames in the caches of other CPUs can't be had, at most [`CACHED_MAX`](super::CACHED_MAX) for each CPU, and neither
/// can those that another CPU is freeing or looking at in this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfFrames {
    /// The size of frame that was asked for, as messages call it.
    pub size: &'static str,
    /// How many frames of that size.
    pub count: u64,
    /// How many 4 KiB frames were free in all; or were left in the batch that they were to come from.
    pub free_frames: u64,
    /// How many of these were promised to credits.
    pub promised_frames: u64,
}

impl OutOfFrames {
    /// `count` frames of size `S` could not be had from this machine.
    #[cold]
    pub(super) fn new<S: PageSize>(machine: impl FrameSource, count: u64) -> Self {
        let FrameStatistics { free, promised, .. } = machine.frames().statistics();
        Self { size: S::NAME, count, free_frames: free, promised_frames: promised }
    }
}

impl fmt::Display for OutOfFrames {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, count, free_frames, promised_frames } = self;
        if *count == 0 {
            return formatter.write_str("a run of 0 frames was asked for; ask for at least 1");
        }
        write!(
            formatter,
            "no room for {count} frame(s) of {size}: {free_frames} frames of 4 KiB are free, of which \
             {promised_frames} are promised and the others in pieces or in the caches of other CPUs; "
        )?;
        formatter.write_str("give the guest more memory, or unmap some")
    }
}

impl core::error::Error for OutOfFrames {}
