//! The page tables of this repository: an untracked subtree by ranges and by a cursor, and the tracked one.

use super::tracked::Tracked as OwnsFrames;
use super::work::PHYS;
use super::{Done, PageTable, REGION_PAGES, Refused};
use crate::Result;
use crate::arena::{Arena, PAGE};
use crate::simulation::{Cpu, NoTlb, booted};
use unikernel::memory::address::{PhysAddr, VirtAddr};
use unikernel::memory::address_space::Placed;
use unikernel::memory::frame::FrameBatch;
use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::attributes::{DataAccess, DeviceCache, MmioAttributes};
use unikernel::memory::page_table::{
    Cursor, Detached, Error, Mmio, MmioLeaf, MmioRun, Rejected, Tracked, VaRange, VirtRange, flush,
};
use unikernel::memory::subtree::Subtree;

const UNCACHED: MmioAttributes =
    MmioAttributes { access: DataAccess::ReadWrite, cache: DeviceCache::Uncached };

/// A region of kind `O`, for as long as nothing of it is taken out.
struct Region<O: Placed> {
    cpu: Cpu,
    start: u64,
    range: Option<VaRange<O, Cpu>>,
}

impl<O: Placed> Region<O> {
    fn new(arena: Arena) -> Result<Self> {
        let cpu = booted(arena)?;
        let range = Subtree::<O>::reserve(cpu, REGION_PAGES * PAGE, REGION_PAGES * PAGE)?;
        Ok(Self { cpu, start: range.range().start.as_u64(), range: Some(range) })
    }

    #[inline]
    fn at(&self, page: u64) -> VirtAddr {
        VirtAddr::new(self.start + page * PAGE)
    }

    /// Takes pages out, flushes, frees them, and joins the range again.
    #[inline]
    fn unmap(&mut self, page: u64, pages: u64) -> Done {
        let refused = Refused { operation: "unmapped", page };
        let part = VirtRange::new(self.at(page), pages * PAGE);
        let Some(carved) = self.range.take().and_then(|range| range.carve(part).ok()) else {
            return Err(refused);
        };
        let Ok(detached) = carved.middle.unmap() else { return Err(refused) };
        let mut range = flushed(detached);
        for neighbour in [carved.below, carved.above].into_iter().flatten() {
            let Ok(joined) = range.join(neighbour) else { return Err(refused) };
            range = joined;
        }
        self.range = Some(range);
        Ok(())
    }

    #[inline]
    fn lookup(&self, page: u64) -> Option<u64> {
        Some(self.range.as_ref()?.query(self.at(page))?.phys.as_u64())
    }
}

#[inline]
fn flushed<O: Placed>(detached: Detached<O, Cpu>) -> VaRange<O, Cpu> {
    flush(detached, &NoTlb).release()
}

impl<O: Placed> Drop for Region<O> {
    /// Leaves the machine as it was, for the next turn.
    fn drop(&mut self) {
        let Some(Ok(detached)) = self.range.take().map(VaRange::detach) else { return };
        if Subtree::give_back(flushed(detached)).is_err() {
            eprintln!("the region could not be given back");
        }
        if Subtree::<O>::trim(self.cpu, &NoTlb).is_err() {
            eprintln!("the tables of the region could not be given back");
        }
    }
}

/// Device registers, by ranges.
pub(super) struct Ours(Region<Mmio>);

impl PageTable for Ours {
    fn name() -> String {
        "ours".to_owned()
    }

    fn new(arena: Arena) -> Result<Self> {
        Region::new(arena).map(Self)
    }

    #[inline]
    fn map_run(&mut self, page: u64, pages: u64, phys: u64) -> Done {
        let refused = Refused { operation: "mapped", page };
        let at = self.0.at(page);
        let Ok(run) = MmioRun::<Size4KiB>::new(&self.0.cpu, PhysAddr::new(phys), pages) else {
            return Err(refused);
        };
        let Some(range) = self.0.range.as_mut() else { return Err(refused) };
        range.map(at, run, UNCACHED).map_err(|_| refused)
    }

    #[inline]
    fn unmap_run(&mut self, page: u64, pages: u64) -> Done {
        self.0.unmap(page, pages)
    }

    fn map_page(&mut self, page: u64, phys: u64) -> Done {
        self.map_run(page, 1, phys)
    }

    fn unmap_page(&mut self, page: u64) -> Done {
        self.unmap_run(page, 1)
    }

    #[inline]
    fn lookup(&self, page: u64) -> Option<u64> {
        self.0.lookup(page)
    }

    fn release(&mut self) -> Done {
        let refused = Refused { operation: "released", page: 0 };
        let Some(Ok(detached)) = self.0.range.take().map(VaRange::detach) else { return Err(refused) };
        self.0.range = Some(flushed(detached));
        Ok(())
    }
}

/// Device registers, page by page under one cursor: one flush for all pages that are taken out.
pub(super) struct OursBySingles {
    region: Region<Mmio>,
    registers: MmioRun<Size4KiB>,
    cursor: Option<Cursor<Mmio, Cpu>>,
}

impl OursBySingles {
    #[inline]
    fn cursor(&mut self) -> Option<&mut Cursor<Mmio, Cpu>> {
        if self.cursor.is_none() {
            self.cursor = Some(self.region.range.take()?.cursor());
        }
        self.cursor.as_mut()
    }

    /// What a cursor took out it does not map again before a flush.
    #[cold]
    fn map_after_flush(&mut self, page: u64, at: VirtAddr, rejected: Rejected<MmioLeaf<Size4KiB>>) -> Done {
        let refused = Refused { operation: "mapped", page };
        if !matches!(rejected.error, Error::AwaitingFlush { .. }) {
            return Err(refused);
        }
        self.settle();
        let Some(cursor) = self.cursor() else { return Err(refused) };
        cursor.map_page(at, rejected.input, UNCACHED).map_err(|_| refused)
    }

    /// Ends the work of the cursor, and flushes.
    fn settle(&mut self) {
        if let Some(cursor) = self.cursor.take() {
            self.region.range = Some(flushed(cursor.finish()));
        }
    }
}

impl PageTable for OursBySingles {
    fn name() -> String {
        "ours, by a cursor".to_owned()
    }

    fn new(arena: Arena) -> Result<Self> {
        let region = Region::new(arena)?;
        let registers = MmioRun::new(&region.cpu, PhysAddr::new(PHYS), REGION_PAGES)?;
        Ok(Self { region, registers, cursor: None })
    }

    fn map_run(&mut self, page: u64, pages: u64, phys: u64) -> Done {
        (0..pages).try_for_each(|offset| self.map_page(page + offset, phys + offset * PAGE))
    }

    fn unmap_run(&mut self, page: u64, pages: u64) -> Done {
        (page..page + pages).try_for_each(|page| self.unmap_page(page))
    }

    #[inline]
    fn map_page(&mut self, page: u64, phys: u64) -> Done {
        let refused = Refused { operation: "mapped", page };
        let at = self.region.at(page);
        let Some(leaf) = self.registers.leaf((phys - PHYS) / PAGE) else { return Err(refused) };
        let Some(cursor) = self.cursor() else { return Err(refused) };
        match cursor.map_page(at, leaf, UNCACHED) {
            Ok(()) => Ok(()),
            Err(rejected) => self.map_after_flush(page, at, rejected),
        }
    }

    #[inline]
    fn unmap_page(&mut self, page: u64) -> Done {
        let refused = Refused { operation: "unmapped", page };
        let part = VirtRange::new(self.region.at(page), PAGE);
        let Some(cursor) = self.cursor() else { return Err(refused) };
        cursor.unmap(part).map_err(|_| refused)
    }

    fn lookup(&self, page: u64) -> Option<u64> {
        let at = self.region.at(page);
        match &self.cursor {
            Some(cursor) => Some(cursor.query(at)?.phys.as_u64()),
            None => self.region.lookup(page),
        }
    }

    fn release(&mut self) -> Done {
        self.settle();
        Ok(())
    }
}

impl Drop for OursBySingles {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Heap: frames by runs, owned by the table while they are mapped.
pub(super) struct OursTracked(Region<Tracked>);

impl OwnsFrames for OursTracked {
    fn name() -> String {
        "ours".to_owned()
    }

    fn new(arena: Arena) -> Result<Self> {
        Region::new(arena).map(Self)
    }

    #[inline]
    fn map(&mut self, page: u64, pages: u64) -> Done {
        let refused = Refused { operation: "mapped", page };
        let at = self.0.at(page);
        let Ok(frames) = FrameBatch::<Size4KiB, Cpu>::allocate(self.0.cpu, pages) else {
            return Err(refused);
        };
        let Some(range) = self.0.range.as_mut() else { return Err(refused) };
        range.map(at, frames, DataAccess::ReadWrite).map_err(|_| refused)
    }

    #[inline]
    fn unmap(&mut self, page: u64, pages: u64) -> Done {
        self.0.unmap(page, pages)
    }

    fn lookup(&self, page: u64) -> Option<u64> {
        self.0.lookup(page)
    }
}
