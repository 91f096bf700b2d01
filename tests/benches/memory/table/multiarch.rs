//! `PageTable64` of `page_table_multiarch`, with its operations on ranges. It asks for frames by functions without a
//! receiver, so they come from where [`NodeFrames::current`] keeps them.
//!
//! Types carry a number `USE` that only makes them distinct: the compiler inlines the crate's `map` and `unmap` where a type
//! has one use of them, as in a kernel, and they lose up to half of their speed where it has several.

use super::tracked::ReturnsFrame;
use super::{Done, NodeFrames, PageTable, REGION, REGION_PAGES, Refused};
use crate::Result;
use crate::arena::{Arena, PAGE, pointer};
use memory_addr::{PhysAddr, VirtAddr};
use page_table_entry::x86_64::X64PTE;
use page_table_multiarch::{MappingFlags, PageSize, PageTable64, PagingHandler, PagingMetaData};
use std::marker::PhantomData;

/// `PageTable64` with the frames of its nodes from `F`. There is one at a time.
pub(super) struct Multiarch<F: NodeFrames, const USE: u8> {
    /// None after the release.
    table: Option<PageTable64<FourLevels, X64PTE, Handler<F, USE>>>,
}

const FLAGS: MappingFlags = MappingFlags::READ.union(MappingFlags::WRITE);

/// x86-64 with four levels, and nothing to flush.
struct FourLevels;

impl PagingMetaData for FourLevels {
    const LEVELS: usize = 4;
    const PA_MAX_BITS: usize = 52;
    const VA_MAX_BITS: usize = 48;

    type VirtAddr = VirtAddr;

    #[inline]
    fn flush_tlb(_: Option<VirtAddr>) {}
}

struct Handler<F, const USE: u8>(PhantomData<F>);

impl<F: NodeFrames, const USE: u8> PagingHandler for Handler<F, USE> {
    #[inline]
    fn alloc_frames(num: usize, align: usize) -> Option<PhysAddr> {
        if num != 1 || align != PAGE as usize {
            return None;
        }
        let phys = F::current().with_borrow_mut(|frames| frames.as_mut()?.allocate())?;
        Some(PhysAddr::from_usize(phys as usize))
    }

    #[inline]
    fn dealloc_frames(paddr: PhysAddr, _: usize) {
        F::current().with_borrow_mut(|frames| {
            if let Some(frames) = frames {
                frames.free(paddr.as_usize() as u64);
            }
        });
    }

    #[inline]
    fn phys_to_virt(paddr: PhysAddr) -> VirtAddr {
        VirtAddr::from_mut_ptr_of(pointer(paddr.as_usize() as u64))
    }
}

#[inline]
fn address_of(page: u64) -> VirtAddr {
    VirtAddr::from_usize((REGION + page * PAGE) as usize)
}

impl<F: NodeFrames, const USE: u8> Multiarch<F, USE> {
    #[inline]
    fn table(
        &mut self,
        operation: &'static str,
        page: u64,
    ) -> Done<&mut PageTable64<FourLevels, X64PTE, Handler<F, USE>>> {
        self.table.as_mut().ok_or(Refused { operation, page })
    }
}

impl<F: NodeFrames, const USE: u8> PageTable for Multiarch<F, USE> {
    fn name() -> String {
        format!("page_table_multiarch, {}", F::NAME)
    }

    fn new(arena: Arena) -> Result<Self> {
        let frames = F::new(arena)?;
        if F::current().replace(Some(frames)).is_some() {
            return Err("two tables of page_table_multiarch at once".into());
        }
        let table = PageTable64::try_new().map_err(|error| format!("making the root: {error:?}"))?;
        Ok(Self { table: Some(table) })
    }

    #[inline]
    fn map_run(&mut self, page: u64, pages: u64, phys: u64) -> Done {
        let start = address_of(page);
        let frame_of =
            |address: VirtAddr| PhysAddr::from_usize(phys as usize + (address.as_usize() - start.as_usize()));
        let table = self.table("mapped", page)?;
        let mapped = table.cursor().map_region(start, frame_of, (pages * PAGE) as usize, FLAGS, false);
        mapped.map_err(|_| Refused { operation: "mapped", page })
    }

    #[inline]
    fn unmap_run(&mut self, page: u64, pages: u64) -> Done {
        let table = self.table("unmapped", page)?;
        let unmapped = table.cursor().unmap_region(address_of(page), (pages * PAGE) as usize);
        unmapped.map_err(|_| Refused { operation: "unmapped", page })
    }

    #[inline]
    fn map_page(&mut self, page: u64, phys: u64) -> Done {
        let phys = PhysAddr::from_usize(phys as usize);
        let table = self.table("mapped", page)?;
        let mapped = table.cursor().map(address_of(page), phys, PageSize::Size4K, FLAGS);
        mapped.map_err(|_| Refused { operation: "mapped", page })
    }

    #[inline]
    fn unmap_page(&mut self, page: u64) -> Done {
        self.unmap_frame(page).map(drop)
    }

    #[inline]
    fn lookup(&self, page: u64) -> Option<u64> {
        let (phys, _, _) = self.table.as_ref()?.query(address_of(page)).ok()?;
        Some(phys.as_usize() as u64)
    }

    fn release(&mut self) -> Done {
        // Its `drop` gives all nodes back and leaves what they map alone.
        let table = self.table.take().ok_or(Refused { operation: "released", page: REGION_PAGES })?;
        drop(table);
        Ok(())
    }
}

impl<F: NodeFrames, const USE: u8> ReturnsFrame for Multiarch<F, USE> {
    #[inline]
    fn unmap_frame(&mut self, page: u64) -> Done<u64> {
        let table = self.table("unmapped", page)?;
        let unmapped = table.cursor().unmap(address_of(page));
        let (phys, _, _) = unmapped.map_err(|_| Refused { operation: "unmapped", page })?;
        Ok(phys.as_usize() as u64)
    }
}

impl<F: NodeFrames, const USE: u8> Drop for Multiarch<F, USE> {
    fn drop(&mut self) {
        self.table = None;
        F::current().take();
    }
}
