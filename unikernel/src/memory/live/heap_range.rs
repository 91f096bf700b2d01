//! The tracked range that the heap is made of: nearly all free RAM, mapped once, by the largest frames there are.

use super::bring_up::BringUpError;
use super::regions::{self, Region};
use super::{Live, VirtAddr};
use crate::memory::PAGE_LEN;
use crate::memory::frame::{FrameBatch, FrameRun, FrameSource};
use crate::memory::page_size::{PageSize, Size1GiB, Size2MiB, Size4KiB};
use crate::memory::page_table::attributes::DataAccess;
use crate::memory::page_table::level::LeafSize;
use crate::memory::page_table::{TableMemory, Tracked, VaRange, VirtRange};
use crate::memory::subtree::Subtree;

/// Of how many free frames one stays free, for page tables and mappings of the application's own; and how many do at least
/// and at most.
const SPARE_ONE_IN: u64 = 128;
const SPARE_MIN: u64 = 64;
const SPARE_MAX: u64 = 1024;
/// The longest run that is looked for.
const RUN_MAX: u64 = 64;

/// Takes nearly all free frames and maps them side by side; gives the range back, which belongs to the caller for ever.
pub(crate) fn map_heap(machine: Live) -> Result<VirtRange, BringUpError> {
    let free = machine.frames().statistics().free;
    let spare = (free / SPARE_ONE_IN).clamp(SPARE_MIN, SPARE_MAX);
    let spare = FrameBatch::<Size4KiB, _>::allocate(machine, spare)?;
    let large = match machine.paging().one_gib_leaves {
        true => take_all::<Size1GiB>(machine),
        false => FrameBatch::new(machine),
    };
    let middle = take_all::<Size2MiB>(machine);
    let small = take_all::<Size4KiB>(machine);
    // What is spare holds the page tables, too.
    drop(spare);

    // The smallest leaves come first, so that each size begins at a multiple of itself without gaps. They are what is left
    // beside the image, too, memory that the host has at hand already. What is reserved on either side stays so, as guards;
    // without a lead it is the first root slot that lies below, all of which is the kernel's. The upper guard is a whole GiB,
    // since tables that translate some of it as well as addresses of others could never be trimmed.
    let below_large = bytes(&small) + bytes(&middle);
    let lead = below_large.next_multiple_of(Size1GiB::LEN_BYTES) - below_large;
    let len_bytes = below_large + bytes(&large);
    let all =
        Subtree::<Tracked>::reserve(machine, lead + len_bytes + Size1GiB::LEN_BYTES, Size1GiB::LEN_BYTES)?;
    let used = VirtRange::new(VirtAddr::new(all.range().start.as_u64() + lead), len_bytes);
    let mut heap = all.carve(used).map_err(|rejected| rejected.error)?.middle;
    let mut at = used.start;
    map_all(&mut heap, &mut at, small)?;
    map_all(&mut heap, &mut at, middle)?;
    map_all(&mut heap, &mut at, large)?;
    regions::add(Region::new("heap", used).guarded(PAGE_LEN, PAGE_LEN));
    Ok(used)
}

fn bytes<S: PageSize>(batch: &FrameBatch<S, Live>) -> u64 {
    batch.count() * S::LEN_BYTES
}

/// All frames of a size that are free, in the longest runs.
fn take_all<S: PageSize>(machine: Live) -> FrameBatch<S, Live> {
    let mut batch = FrameBatch::new(machine);
    let mut count = RUN_MAX;
    while count > 0 {
        match FrameRun::<S, _>::allocate(machine, count).map(|run| batch.push(run)) {
            Ok(Ok(())) => {}
            _ => count /= 2,
        }
    }
    batch
}

/// Maps a batch at `at`, and moves on behind it.
fn map_all<S: LeafSize>(
    range: &mut VaRange<Tracked, Live>,
    at: &mut VirtAddr,
    batch: FrameBatch<S, Live>,
) -> Result<(), BringUpError> {
    let len_bytes = bytes(&batch);
    if len_bytes > 0 {
        range.map(*at, batch, DataAccess::ReadWrite).map_err(|rejected| rejected.error)?;
    }
    *at = VirtAddr::new(at.as_u64() + len_bytes);
    Ok(())
}
