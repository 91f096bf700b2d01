//! The memory core run against plain maps.
//!
//! A [`Sequence`] of operations, decoded from any bytes, runs on a simulated machine and on an oracle that knows what
//! must come of each: maps of pages, with neither entries nor walks. After each step both must agree, on the result down to
//! the values in an error, on every leaf, and on where each frame is. What the core does in one store the oracle does page
//! by page, so that the two share no idea that could be wrong in both.
//!
//! | file | about |
//! |---|---|
//! | `operation`, `place`, `size` | what can be asked for |
//! | `bytes`, `decode`, `sequence` | that, from bytes |
//! | `oracle` | what must come of it |
//! | `world` | both, side by side |
//!
//! A [`HeapSequence`] does the same for the heap and for the source of its ranges, each beside a plain list of what it has
//! given out; all of that is in `heap`.
//!
//! The proptests in `tests`, and the fuzzers behind the feature `libfuzzer`, make the bytes.

mod bytes;
mod decode;
mod heap;
mod operation;
mod oracle;
mod place;
mod sequence;
mod size;
mod world;

pub use heap::{HEAP_HEADER_LEN_BYTES, HEAP_OPERATION_LEN_BYTES, HeapSequence};
pub use operation::{Action, Change, Fit, Form, Move, Operation, Release, Step, Supply};
pub use place::{Length, Part, Place};
pub use sequence::{Machine, OPERATION_LEN_BYTES, Sequence};
pub use size::Size;
pub use world::{Outcome, World};
