//! Tables that own what they map: to map takes frames, to unmap gives them back.

use super::floor::RunsOnStack;
use super::multiarch::Multiarch;
use super::ours::OursTracked;
use super::x86_64::Offset;
use super::{Done, ENTRIES, PageTable, REGION_PAGES, Refused};
use crate::Result;
use crate::arena::{Arena, FRAMES, PAGE, RAM};
use crate::free_list::FreeList;
use std::hint::black_box;
use system_tests::contest::{Contest, Reach, Role, Work, nanoseconds};

/// A table that owns the frames it maps.
pub(crate) trait Tracked: Sized {
    /// What the printed tables call it.
    fn name() -> String;

    /// An empty one. It may use all of the arena; 1 GiB of frames and the nodes for them must be there.
    fn new(arena: Arena) -> Result<Self>;

    /// Takes frames and maps consecutive pages to them: a multiple of 512 pages, from a multiple of 512.
    fn map(&mut self, page: u64, pages: u64) -> Done;

    /// Unmaps such pages, and gives their frames back. Nodes may stay.
    fn unmap(&mut self, page: u64, pages: u64) -> Done;

    /// The physical address that a page is mapped to.
    fn lookup(&self, page: u64) -> Option<u64>;
}

/// A table that tells what it unmapped, which a caller needs who is to keep account of frames.
pub(super) trait ReturnsFrame: PageTable {
    /// Unmaps one page, and returns what it was mapped to.
    fn unmap_frame(&mut self, page: u64) -> Done<u64>;
}

/// What a kernel does that is built on a table without ownership: a frame from a free list for each page, and back.
struct FrameByFrame<T> {
    table: T,
    free: FreeList,
}

impl<T: ReturnsFrame> Tracked for FrameByFrame<T> {
    fn name() -> String {
        format!("{}, page by page", T::name())
    }

    fn new(arena: Arena) -> Result<Self> {
        Ok(Self { table: T::new(arena)?, free: FreeList::over(arena, FRAMES, PAGE) })
    }

    #[inline]
    fn map(&mut self, page: u64, pages: u64) -> Done {
        (page..page + pages).try_for_each(|page| {
            let frame = self.free.pop().ok_or(Refused { operation: "mapped", page })?;
            self.table.map_page(page, frame)
        })
    }

    #[inline]
    fn unmap(&mut self, page: u64, pages: u64) -> Done {
        (page..page + pages).try_for_each(|page| {
            let frame = self.table.unmap_frame(page)?;
            self.free.push(frame);
            Ok(())
        })
    }

    fn lookup(&self, page: u64) -> Option<u64> {
        self.table.lookup(page)
    }
}

/// Holds the contests of tracked tables.
///
/// # Errors
///
/// When a contestant refuses its work or does it wrongly.
pub(crate) fn hold(arena: Arena) -> Result<()> {
    let work = |title| Work { title, reach: Reach::Under(3.0) };
    let mut short =
        Contest::new([work("map and unmap 512 pages, tracked: frames taken and given back, per page")]);
    let mut long =
        Contest::new([work("map and unmap 262,144 pages, tracked: frames taken and given back, per page")]);
    enter::<OursTracked>(arena, Role::Ours, &mut short, &mut long);
    enter::<FrameByFrame<Offset<FreeList>>>(arena, Role::Peer, &mut short, &mut long);
    enter::<FrameByFrame<Multiarch<FreeList, 2>>>(arena, Role::Peer, &mut short, &mut long);
    enter::<RunsOnStack>(arena, Role::Floor, &mut short, &mut long);
    short.hold()?;
    long.hold()
}

fn enter<T: Tracked>(
    arena: Arena,
    role: Role,
    short: &mut Contest<'static, 1>,
    long: &mut Contest<'static, 1>,
) {
    short.enter(role, T::name(), move || there_and_back::<T>(arena, ENTRIES, 2048));
    long.enter(role, T::name(), move || there_and_back::<T>(arena, REGION_PAGES, 4));
}

/// Maps and unmaps a run, with the nodes made before.
fn there_and_back<T: Tracked>(arena: Arena, pages: u64, rounds: u64) -> Result<[f64; 1]> {
    let mut table = T::new(arena)?;
    let table = black_box(&mut table);
    table.map(0, pages)?;
    for page in [0, pages / 2, pages - 1] {
        let frame = table.lookup(page).ok_or(Refused { operation: "looked up", page })?;
        if !RAM.contains(&frame) || !frame.is_multiple_of(PAGE) {
            return Err(format!("page {page} is mapped to {frame:#x}, which is no frame of RAM").into());
        }
    }
    table.unmap(0, pages)?;
    if table.lookup(pages - 1).is_some() {
        return Err(format!("page {} is still mapped", pages - 1).into());
    }
    let time = nanoseconds(|| {
        (0..rounds).try_for_each(|_| {
            table.map(black_box(0), black_box(pages))?;
            table.unmap(black_box(0), black_box(pages))
        })
    })?;
    Ok([time / (pages * rounds) as f64])
}
