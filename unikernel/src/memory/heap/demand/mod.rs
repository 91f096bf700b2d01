//! Ranges whose pages come when they are touched, and can't fail to.
//!
//! # What is guaranteed
//! A range is handed out with credit in frames for all of its pages and for the tables that they could need: what can't be
//! honoured is refused there, and no page fault runs out of memory. At the first access a page
//! is mapped, cleared, with those around it, 16 to 64 KiB by what a fault costs; or one of 2 MiB, where the range covers a
//! whole block and a large frame is free. What is given back is unmapped, flushed and
//! freed, by whole leaves: nothing is split, and no memory is needed for it.
//!
//! # Who may change what
//! All addresses are one [`VaRange<Tracked>`](crate::memory::page_table::VaRange), the region, which the [`Pager`] holds for
//! ever. It works on pieces of it, by these rules:
//! 1. Granules that are not handed out belong to who hands out and takes in, one at a time: the heap, under its lock. So do
//!    blocks of which nothing is handed out, with their tables.
//! 2. A granule that is handed out is changed by page faults alone, in it or near it, and when its holder gives it back, after
//!    faults that may have begun before have ended.
//! 3. Faults in one block of 2 MiB come one after the other, by a claim in the [`PageMap`].
//! 4. A large leaf lies in a block that was handed out as a whole with one range.
//! 5. Tables of level 2 and up exist for all of the region, and stay.
//!
//! A fault takes no lock that the code which faults could hold: it reads the map, takes a frame by credit, which works in the
//! middle of anything that the frame allocator does, and writes entries of one table.
//!
//! # The parts
//! | file | about |
//! |---|---|
//! | `page_map` | what is handed out |
//! | `pager` | credit and page faults; **trusted**: pieces of the region are made here |
//! | `handing_out` | handing out, taking in and moving; **trusted** with rules 1 and 2 |
//! | `ranges`, `addresses`, `parts` | the heap's source of ranges over that; the addresses it uses; ranges whose parts go back |
//! | `spare` | ranges that were given back and are kept mapped for a while |

mod addresses;
mod handing_out;
mod page_map;
mod pager;
mod parts;
mod ranges;
mod spare;

#[cfg(test)]
#[cfg(loom)]
mod loom_tests;
#[cfg(test)]
#[cfg(not(loom))]
mod model_tests;
#[cfg(test)]
#[cfg(not(loom))]
mod no_memory_tests;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
#[cfg(test)]
#[cfg(not(loom))]
mod thread_tests;

pub use page_map::{BLOCK_LEN, PageMap};
pub use pager::{ClearFrames, Faults, NotPaged, Pager};
pub use ranges::DemandRanges;
