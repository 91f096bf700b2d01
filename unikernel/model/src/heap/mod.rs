//! The heap, and the source of its ranges, against plain models.
//!
//! | file | about |
//! |---|---|
//! | `sequence` | what is done to either, from bytes |
//! | `memory` | memory of the host |
//! | `blocks` | the heap over memory that is there from the start: blocks, and what was written to them |
//! | `ranges` | the source whose pages come on demand: ranges, credit and frames, with others that want frames |

mod blocks;
mod memory;
mod ranges;
mod sequence;

pub use sequence::{HEAP_HEADER_LEN_BYTES, HEAP_OPERATION_LEN_BYTES, HeapSequence};
