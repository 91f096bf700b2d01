//! The heap of the machine: a region of the tracked subtree, longer than RAM, whose pages come on demand.

use super::bring_up::BringUpError;
use super::regions::{self, Region};
use super::{HOST, Live, LocalFlush, in_ram_window};
use crate::memory::PAGE_LEN;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::atomic::{AtomicU8, AtomicU64};
use crate::memory::frame::{FrameRun, FrameSource, OutOfFrames};
use crate::memory::heap::demand::{BLOCK_LEN, ClearFrames, DemandRanges, NotPaged, PageMap, Pager};
use crate::memory::heap::{CurrentCpu, GRANULE_LEN, Heap};
use crate::memory::page_size::{PageSize, Size1GiB, Size4KiB};
use crate::memory::page_table::{Tracked, VaRange, VirtRange};
use crate::memory::subtree::Subtree;
use spin::Once;

/// The heap that the global allocator uses.
pub(crate) static HEAP: Heap<DemandRanges<'static, Live, LocalFlush>, OnlyCpu> =
    Heap::new(DemandRanges::empty(LocalFlush));

/// Its region. Page faults read it without a lock.
static PAGER: Once<Pager<'static, Live>> = Once::new();

/// The one CPU that runs.
pub(crate) struct OnlyCpu;

// SAFETY: 1, there is one. 2, a guest has no other flow of control than its one CPU's, and handlers come to their end; on
// the host the machine's heap has no memory and nobody allocates from it.
unsafe impl CurrentCpu for OnlyCpu {
    #[inline(always)]
    fn index() -> usize {
        0
    }
}

/// How many bytes of addresses there are for a byte of RAM: so many that free addresses in pieces do not keep frames from
/// being used. What is not used of them costs a bit for 16 KiB.
const ADDRESSES_FOR_RAM: u64 = 8;
/// The shortest region.
const REGION_MIN: u64 = 64 << 20;
/// What stays unmapped on either side.
const GUARD_LEN: u64 = Size1GiB::LEN_BYTES;

/// Makes the heap. Nothing was allocated before.
pub(crate) fn start(machine: Live) -> Result<(), BringUpError> {
    let free_bytes = machine.frames().statistics().free * PAGE_LEN;
    let range = reserve(machine, free_bytes)?;
    let region = range.range();
    let map = page_map(machine, region.len_bytes / BLOCK_LEN)?;
    let pager = Pager::new(machine, range, map, around_bytes()).map_err(|rejected| rejected.error)?;
    let pager = PAGER.call_once(|| pager);
    regions::add(Region::new("heap", region).guarded(GUARD_LEN, GUARD_LEN));
    let start = core::ptr::with_exposed_provenance_mut(region.start.as_u64() as usize);
    // SAFETY: this is done once, before anything is allocated. 1, nobody else has the pager but the fault handler, and who
    // asks the heap. 2, page faults lead to `page_in`, below.
    unsafe { HEAP.init(DemandRanges::new(pager, start, LocalFlush)?) };
    Ok(())
}

/// What small pages are mapped of at once.
fn around_bytes() -> u64 {
    HOST.get().map_or(GRANULE_LEN as u64, |host| host.fault_around_bytes)
}

/// The addresses, with a multiple of 1 GiB inside of them, and guards around, which are never given back.
fn reserve(machine: Live, free_bytes: u64) -> Result<VaRange<Tracked, Live>, BringUpError> {
    let len_bytes = (free_bytes * ADDRESSES_FOR_RAM).max(REGION_MIN).next_multiple_of(BLOCK_LEN);
    let lead = (len_bytes / 16).next_multiple_of(BLOCK_LEN).min(Size1GiB::LEN_BYTES);
    let all_bytes = 3 * GUARD_LEN + len_bytes.next_multiple_of(Size1GiB::LEN_BYTES);
    let all = Subtree::<Tracked>::reserve(machine, all_bytes, Size1GiB::LEN_BYTES)?;
    let start = all.range().start.as_u64() + 2 * GUARD_LEN - lead;
    let region = VirtRange::new(VirtAddr::new(start), len_bytes);
    Ok(all.carve(region).map_err(|rejected| rejected.error)?.middle)
}

/// The memory of the page map, which stays for ever.
fn page_map(machine: Live, blocks: u64) -> Result<PageMap<'static>, OutOfFrames> {
    let words = PageMap::words_for(blocks as usize);
    let len_bytes = (words * size_of::<u64>()) as u64 + blocks;
    let frames = FrameRun::<Size4KiB, _>::allocate(machine, len_bytes.div_ceil(PAGE_LEN))?;
    let start = in_ram_window(frames.leak());
    // SAFETY: the frames are as long as both arrays and given up for good, so that the memory is theirs for ever; any bytes
    // are atomics.
    unsafe {
        start.write_bytes(0, len_bytes as usize);
        Ok(PageMap::new(
            core::slice::from_raw_parts(start.cast::<AtomicU64>(), words),
            core::slice::from_raw_parts(
                start.add(words * size_of::<u64>()).cast::<AtomicU8>(),
                blocks as usize,
            ),
        ))
    }
}

/// The pager of the heap, once there is one.
pub(crate) fn pager() -> Option<&'static Pager<'static, Live>> {
    PAGER.get()
}

/// Maps what is handed out at this address. For the handler of page faults: it takes no lock, touches nothing that is mapped
/// on demand, and works in the middle of any operation. No handler may run meanwhile.
///
/// # Errors
/// [`NotPaged`].
pub(crate) fn page_in(address: VirtAddr) -> Result<u64, NotPaged> {
    pager().ok_or(NotPaged::Outside)?.page_in(address)
}

// SAFETY: the RAM window shows all RAM, write-back as every mapping of RAM.
unsafe impl ClearFrames for Live {
    unsafe fn clear(&self, start: PhysAddr, len_bytes: u64) {
        // SAFETY: by the caller's promise it is RAM, and nobody else's.
        unsafe { in_ram_window(start).write_bytes(0, len_bytes as usize) };
    }
}
