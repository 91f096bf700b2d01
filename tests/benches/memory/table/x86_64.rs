//! `OffsetPageTable` of the `x86_64` crate. It has no operation on a range: runs are mapped page by page.

use super::tracked::ReturnsFrame;
use super::{Done, NodeFrames, PageTable, REGION, REGION_PAGES, Refused};
use crate::Result;
use crate::arena::{Arena, PAGE};
use x86_64::structures::paging::mapper::CleanUp;
use x86_64::structures::paging::{
    FrameAllocator, FrameDeallocator, Mapper, OffsetPageTable, Page, PageTable as Node, PageTableFlags,
    PhysFrame, Size4KiB, Translate,
};
use x86_64::{PhysAddr, VirtAddr};

/// `OffsetPageTable` with the frames of its nodes from `F`.
pub(super) struct Offset<F> {
    table: OffsetPageTable<'static>,
    frames: Frames<F>,
}

struct Frames<F>(F);

// SAFETY: `NodeFrames` hands out free frames of the arena, each to one owner.
unsafe impl<F: NodeFrames> FrameAllocator<Size4KiB> for Frames<F> {
    #[inline]
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        self.0.allocate().map(|phys| PhysFrame::containing_address(PhysAddr::new(phys)))
    }
}

impl<F: NodeFrames> FrameDeallocator<Size4KiB> for Frames<F> {
    #[inline]
    unsafe fn deallocate_frame(&mut self, frame: PhysFrame) {
        self.0.free(frame.start_address().as_u64());
    }
}

/// A page of the region. Its address is canonical, as all of the region is.
#[inline]
fn page_at(page: u64) -> Page {
    Page::containing_address(VirtAddr::new_truncate(REGION + page * PAGE))
}

impl<F: NodeFrames> PageTable for Offset<F> {
    fn name() -> String {
        format!("x86_64, {}", F::NAME)
    }

    fn new(arena: Arena) -> Result<Self> {
        let mut frames = Frames(F::new(arena)?);
        let root = frames.0.allocate().ok_or("no frame for the root")?;
        let offset = VirtAddr::from_ptr(arena.pointer(0));
        let root: *mut Node = arena.pointer(root).cast();
        // SAFETY: the frame was handed out for this table alone, is as large and aligned as a node, and all zeroes are
        // an empty one. Physical memory does lie at `offset`: that is how the arena makes its pointers.
        let table = unsafe {
            root.write_bytes(0, 1);
            OffsetPageTable::new(&mut *root, offset)
        };
        Ok(Self { table, frames })
    }

    #[inline]
    fn map_run(&mut self, page: u64, pages: u64, phys: u64) -> Done {
        (0..pages).try_for_each(|index| self.map_page(page + index, phys + index * PAGE))
    }

    #[inline]
    fn unmap_run(&mut self, page: u64, pages: u64) -> Done {
        (0..pages).try_for_each(|index| self.unmap_page(page + index))
    }

    #[inline]
    fn map_page(&mut self, page: u64, phys: u64) -> Done {
        let flags = PageTableFlags::PRESENT | PageTableFlags::WRITABLE | PageTableFlags::NO_EXECUTE;
        let frame = PhysFrame::containing_address(PhysAddr::new_truncate(phys));
        // SAFETY: no processor ever uses this table, so mapping changes nobody's memory.
        let mapped = unsafe { self.table.map_to(page_at(page), frame, flags, &mut self.frames) };
        mapped.map_err(|_| Refused { operation: "mapped", page })?.ignore();
        Ok(())
    }

    #[inline]
    fn unmap_page(&mut self, page: u64) -> Done {
        self.unmap_frame(page).map(drop)
    }

    #[inline]
    fn lookup(&self, page: u64) -> Option<u64> {
        self.table.translate_addr(page_at(page).start_address()).map(PhysAddr::as_u64)
    }

    fn release(&mut self) -> Done {
        self.unmap_run(0, REGION_PAGES)?;
        let region = Page::range_inclusive(page_at(0), page_at(REGION_PAGES - 1));
        // SAFETY: all nodes are from `frames`, and no processor has any of them in a cache.
        unsafe { self.table.clean_up_addr_range(region, &mut self.frames) };
        Ok(())
    }
}

impl<F: NodeFrames> ReturnsFrame for Offset<F> {
    #[inline]
    fn unmap_frame(&mut self, page: u64) -> Done<u64> {
        let unmapped = self.table.unmap(page_at(page));
        let (frame, flush) = unmapped.map_err(|_| Refused { operation: "unmapped", page })?;
        flush.ignore();
        Ok(frame.start_address().as_u64())
    }
}
