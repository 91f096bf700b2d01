//! Physical frames: the allocator, and frames as values that own their memory.
//!
//! | file | what it is about |
//! |---|---|
//! | `owned`, `run`, `batch` | frames as values: one, several side by side, any number |
//! | `credit` | the promise of frames, for who can't be told later that there are none |
//! | `source` | the handle by which a frame finds its allocator |
//! | `allocator`, `registration`, `statistics` | the allocator of a machine |
//! | `pool`, `give_back`, `redeem`, `cpu_frames` | the CPUs' caches in front of the bitmap; safe against interruption by handlers |
//! | `unpromised` | how many frames of the bitmap may be taken without a promise |
//! | `bitmap`, `search`, `hints`, `area` | which frames are free, shared by all CPUs without a lock |
//! | `arrays`, `state`, `state_bytes`, `known_ram` | the memory of all that, and the note about the use of each frame |
//!
//! The design is that of LLFree (Wrenger and others, USENIX ATC 2023), with its trees reduced to hint bits and a cache
//! of frames for each CPU.

mod allocator;
mod area;
mod arrays;
mod batch;
mod bitmap;
mod cpu_frames;
mod credit;
#[cfg(test)]
#[cfg(not(loom))]
mod credit_tests;
mod give_back;
mod hints;
mod known_ram;
mod out_of_frames;
mod owned;
mod pool;
mod redeem;
mod registration;
mod run;
mod search;
mod source;
mod state;
mod state_bytes;
mod statistics;
mod unpromised;

#[cfg(test)]
#[cfg(loom)]
mod loom_tests;
#[cfg(test)]
#[cfg(not(loom))]
mod owned_tests;
#[cfg(test)]
#[cfg(not(loom))]
mod random_tests;
#[cfg(test)]
#[cfg(not(loom))]
pub(crate) mod test_machine;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
#[cfg(test)]
#[cfg(not(loom))]
mod thread_tests;

pub use allocator::FrameAllocator;
pub use arrays::{FrameArrayLengths, FrameArrays, FrameArraysError};
pub use batch::FrameBatch;
pub use cpu_frames::CpuFrames;
pub use credit::FrameCredit;
pub use out_of_frames::OutOfFrames;
pub use owned::Frame;
pub use pool::CACHED_MAX;
pub use registration::RegisterError;
pub use run::FrameRun;
pub use source::FrameSource;
pub(crate) use source::same_allocator;
pub use state::FrameState;
pub use statistics::FrameStatistics;
