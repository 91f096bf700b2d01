//! Page tables: what a contestant has to be able to do, and who takes part.
//!
//! A contestant works on a region of 1 GiB of virtual memory, aligned to 1 GiB, wherever its address space has one;
//! pages are numbered from the region's start. What is mapped is not owned and never touched: its physical addresses lie
//! beyond the arena.

mod floor;
mod multiarch;
mod ours;
pub(crate) mod tracked;
mod work;
mod x86_64;

use crate::Result;
use crate::arena::Arena;
use crate::free_list::FreeList;
use crate::simulation::OurFrames;
use ours::{Ours, OursBySingles};
use std::cell::RefCell;
use std::thread::LocalKey;
use system_tests::contest::Role;
use work::Contests;

/// Pages of the region: 1 GiB of 4 KiB pages.
pub(crate) const REGION_PAGES: u64 = 1 << 18;
/// Entries of a node.
pub(crate) const ENTRIES: u64 = 512;
/// Where contestants without an opinion put the region: slots 3 and 5 of the two upper levels.
const REGION: u64 = (3 << 39) | (5 << 30);

/// Why an operation did not come about.
#[derive(Debug, thiserror::Error)]
#[error("page {page} of the region could not be {operation}")]
pub(crate) struct Refused {
    /// What was to be done to the page.
    pub(crate) operation: &'static str,
    /// The page, or the first of those it is about.
    pub(crate) page: u64,
}

/// The result of an operation on a table.
pub(crate) type Done<T = ()> = std::result::Result<T, Refused>;

/// A table of 4 KiB pages that owns its nodes and does not own what they map.
pub(crate) trait PageTable: Sized {
    /// What the printed tables call it.
    fn name() -> String;

    /// An empty one. It may use all of the arena.
    fn new(arena: Arena) -> Result<Self>;

    /// Maps consecutive pages to consecutive frames, from the one at physical address `phys`.
    fn map_run(&mut self, page: u64, pages: u64, phys: u64) -> Done;

    /// Unmaps consecutive pages. Nodes may stay.
    fn unmap_run(&mut self, page: u64, pages: u64) -> Done;

    /// Maps one page, as a caller would that has only this one.
    fn map_page(&mut self, page: u64, phys: u64) -> Done;

    /// Unmaps one page. Nodes may stay.
    fn unmap_page(&mut self, page: u64) -> Done;

    /// The physical address that a page is mapped to.
    fn lookup(&self, page: u64) -> Option<u64>;

    /// Takes the whole region out, mapped as it is, and gives the frames of its nodes back. The table is not used after.
    fn release(&mut self) -> Done;
}

/// Where tables get the frames of their nodes. The tables clear them.
pub(crate) trait NodeFrames: Sized + 'static {
    /// What the printed tables call it.
    const NAME: &'static str;

    /// At least 1024 frames of the arena.
    fn new(arena: Arena) -> Result<Self>;

    /// The physical address of a free 4 KiB frame, never 0.
    fn allocate(&mut self) -> Option<u64>;

    /// Takes back a frame that was allocated here.
    fn free(&mut self, phys: u64);

    /// Where this thread's frames are while a table uses them that has room for none (`page_table_multiarch`).
    fn current() -> &'static LocalKey<RefCell<Option<Self>>>;
}

/// Holds the contests of untracked tables.
///
/// # Errors
///
/// When a contestant refuses its work or does it wrongly.
pub(crate) fn hold(arena: Arena) -> Result<()> {
    let mut contests = Contests::new(arena);
    contests.enter::<Ours>(Role::Ours);
    contests.enter_single::<OursBySingles>(Role::Ours);
    enter_peers::<FreeList>(&mut contests);
    enter_peers::<OurFrames>(&mut contests);
    contests.enter::<floor::Floor>(Role::Floor);
    contests.enter_single::<floor::Floor>(Role::Floor);
    contests.hold()
}

/// Enters each peer with one source of frames for its nodes.
fn enter_peers<F: NodeFrames>(contests: &mut Contests) {
    contests.enter::<x86_64::Offset<F>>(Role::Peer);
    contests.enter::<multiarch::Multiarch<F, 0>>(Role::Peer);
    contests.enter_single::<x86_64::Offset<F>>(Role::Peer);
    contests.enter_single::<multiarch::Multiarch<F, 1>>(Role::Peer);
}
