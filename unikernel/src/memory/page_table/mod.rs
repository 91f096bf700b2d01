//! Page tables that know by their type what they own.
//!
//! # What is guaranteed
//! A table [`Node<O, L>`](Node) holds leaves of kind `O` and tables of kind `O` one level down, and nothing else: other code
//! does not compile. What is stored is what is dropped, since both go by the one type of the leaf. Of what hardware may see
//! nothing is freed but from a [`Flushed`].
//!
//! ```
//! use unikernel::memory::frame::FrameRun;
//! use unikernel::memory::page_size::Size4KiB;
//! use unikernel::memory::page_table::attributes::DataAccess;
//! use unikernel::memory::page_table::{Tracked, VirtRange, flush};
//! use unikernel::memory::simulation::{NoTlb, RING_0, SimulatedRam, Simulation};
//! use unikernel::memory::subtree::Subtree;
//!
//! let mut ram = SimulatedRam::new(1024, 1024, 1);
//! let machine = Simulation::new(&mut ram, RING_0, &[0..1024])?;
//! let (cpu, _) = machine.boot()?;
//!
//! // Addresses, frames, and the mapping that owns the frames from now on.
//! let mut heap = Subtree::<Tracked>::reserve(cpu, 8 * 4096, 4096)?;
//! let start = heap.range().start;
//! let frames = FrameRun::<Size4KiB, _>::allocate(cpu, 8)?;
//! heap.map(start, frames, DataAccess::ReadWrite).map_err(|rejected| rejected.error)?;
//! assert!(heap.query(start).is_some());
//!
//! // Taking it out consumes the range. It comes back when all CPUs have flushed, and the frames are free again.
//! let detached = heap.unmap().map_err(|rejected| rejected.error)?;
//! let heap = flush(detached, &NoTlb::default()).release();
//! Subtree::give_back(heap).map_err(|rejected| rejected.error)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Protocol: who may change what
//! There is no lock. A [`VaRange`] is the right to change a range; it is owned, never cloned, and ranges do not overlap.
//!
//! 1. **An entry whose whole block lies in a range is its owner's alone**, at every level. Only the owner changes it, by plain
//!    stores, and only the owner's walks rely on what is below it.
//! 2. **Any other entry on the way to a range is shared** by the owners of all ranges in its block. It goes from absent to a
//!    table, by compare-exchange, and never changes otherwise while any of them exists: to take the table out, or to put a
//!    leaf in its place, one must own the whole block. Who loses the exchange uses the winner's table. A large leaf is
//!    shared where a range was carved through it; it stays until the pieces are joined, since nobody else may change it.
//! 3. A table is filled or cleared before the Release that links it; walks load entries with Acquire.
//! 4. Each table counts its entries that are not absent, in the metadata of its frame. Who owns all that it translates counts
//!    by plain stores, others by atomic addition. Detached entries count until they are released. A count is exact to who owns
//!    all; to others it is at least the number of their own entries, so that zero tells them that they have none.
//! 5. What takes something away consumes the range, and [`Detached`] holds it until the flush: so (1) covers entries that
//!    await one, and nobody maps there meanwhile. A [`Cursor`] refuses that itself. After the flush what was taken out is
//!    freed; or it moves to another range, a table as it is, since from the flush on nothing but its entry leads to it.
//! 6. No operation calls back into its caller's code, waits, or needs memory in order to free memory.
//!
//! So owners of different ranges never wait for each other, a handler may work on a range of its own in the middle of
//! another's operation, and only passing a range from one CPU to another needs synchronisation: whatever passes it.
//!
//! # The parts
//! | file | about |
//! |---|---|
//! | [`ownership`], `untracked`, `backing`, [`attributes`] | kinds, their leaves, what mappings are made from and allow |
//! | [`level`], `entry`, `span`, `error` | levels as types, entry bits, ranges, what can be refused |
//! | `node`, `node_ref`, `link`, `reserve`, `collector` | owned tables, live tables, and freeing by the run; **trusted**: raw entries become types here |
//! | `view` | tables for what does not depend on what they own; **trusted** to read live tables only |
//! | `map`, `unmap`, `trim`, `protect`, `resize`, `query`, `count` | the operations; of these `resize` is **trusted**, for it takes leaves back as values |
//! | `va_range`, `cursor` | who may call them; **trusted**: ranges are made and cut up here |
//! | `pending`, `flush`, `release`, `relocate` | what awaits a flush, the proof of one, freeing, moving; **trusted** |
//! | [`machine`] | what all this runs on |

pub mod attributes;
mod backing;
mod collector;
mod count;
mod cursor;
pub(crate) mod entry;
mod error;
mod flush;
pub mod level;
mod link;
#[cfg(test)]
#[cfg(loom)]
pub(crate) mod loom_machine;
#[cfg(test)]
#[cfg(loom)]
mod loom_tests;
pub mod machine;
mod map;
mod node;
pub(crate) mod node_ref;
pub mod ownership;
mod pending;
mod protect;
pub(crate) mod query;
mod release;
mod relocate;
mod reserve;
mod resize;
pub(crate) mod span;
#[cfg(test)]
#[cfg(not(loom))]
pub(crate) mod tests;
mod trim;
mod unmap;
mod untracked;
mod va_range;
pub(crate) mod view;

pub use count::LeafCounts;
pub use cursor::Cursor;
pub use error::{Error, Rejected};
pub use flush::{Detached, FlushRequest, Flushed, Moved, Obligation, RejectedMove, Shootdown, flush};
pub use machine::{EntryCell, Machine, Paging, TableMemory};
pub use node::Node;
pub use ownership::{Backing, Ownership, Tracked};
pub use query::{Leaves, Mapping};
pub use release::Released;
pub use resize::Compound;
pub use span::VirtRange;
pub use untracked::{Kva, KvaLeaf, KvaRun, Mmio, MmioLeaf, MmioRun};
pub use va_range::{Carved, VaRange};
