//! The global allocator: a heap over ranges of addresses that it takes and gives back.
//!
//! # Which blocks go where
//! | blocks | come from | found again by |
//! |---|---|---|
//! | small, up to 32 KiB | spans of 16, 64 or 256 KiB, each of blocks of one length; a CPU keeps some free ones at hand | masking the address |
//! | middle, up to 128 KiB | arenas of 1 MiB, each a `linked_list_allocator` | masking the address |
//! | large, or aligned further than their kind | a range of their own, which grows where it is, or moves with its mappings | the layout |
//!
//! A block's kind follows from its layout, which comes back with it: nothing is noted down for a block. Where memory is
//! scarce, small and middle-sized blocks get ranges of their own, too: no long span or arena is opened that would take more
//! than an eighth of what is free. Such a block is told by its address, as it starts a range, and others do not.
//!
//! # What is guaranteed
//! Allocating and freeing a small block takes a few instructions on lists of the own CPU; once in so many blocks a batch is
//! exchanged with the spans, under the lock. Free ranges are found by length and joined with their neighbours in a time
//! that does not depend on how many blocks there are. All notes lie in the memory of the heap itself; starting touches two
//! pages of it, and later no more is touched than what blocks need. Spans and arenas that became empty go back, but for a few;
//! before an allocation fails, those go back too, with the free blocks that the CPU has at hand.
//!
//! # Handlers
//! **A handler must neither allocate nor free.** One that does works as long as it has not interrupted the heap on its
//! own CPU; if it has, it panics, and has changed nothing.
//!
//! # The parts
//! | file | about |
//! |---|---|
//! | [`allocator`] | the heap: which part a layout goes to, resizing in place, running out |
//! | [`cpu_cache`] | what a CPU has at hand |
//! | `size_class`, `span`, `spans` | small blocks |
//! | `arena` | middle-sized blocks |
//! | [`source`] | the seam to who owns the addresses |
//! | [`one_range`], `bins` | a source of memory that is there from the start |
//! | [`demand`] | the source of the machine's heap: pages come when they are touched |
//! | [`statistics`](mod@statistics) | how the heap stands, and what it could not do |

pub mod allocator;
mod arena;
mod bins;
pub mod cpu_cache;
pub mod demand;
pub mod one_range;
mod size_class;
pub mod source;
mod span;
mod spans;
pub mod statistics;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod no_memory_tests;
#[cfg(test)]
mod one_range_tests;
#[cfg(test)]
mod tests;

pub use allocator::Heap;
pub use cpu_cache::CurrentCpu;
pub use one_range::OneRange;
pub use source::{End, GRANULE_LEN, RangeSource};
pub use statistics::{FailedAllocation, Statistics};
