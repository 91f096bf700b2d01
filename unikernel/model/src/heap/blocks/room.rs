//! Whether there was room for a block: by what is allocated, and by what the heap says of the lengths of its parts.

use super::block::Block;
use core::alloc::Layout;
use core::ops::Range;

pub(super) const KIB: usize = 1 << 10;
pub(super) const GRANULE: usize = unikernel::memory::heap::GRANULE_LEN;
/// The largest small block, and middle-sized block.
pub(super) const SMALL_MAX: usize = 32 * KIB;
pub(super) const MIDDLE_MAX: usize = 128 * KIB;
pub(super) const MIDDLE_ALIGN_MAX: usize = 64;

/// Whether a range for the block alone would fit between these.
pub(super) fn has_room<'b>(
    all: &Range<usize>,
    blocks: impl Iterator<Item = &'b Block>,
    layout: Layout,
) -> bool {
    let least = layout.size().max(layout.align());
    let (len, align) = match least {
        0..=SMALL_MAX => (least.next_power_of_two(), least.next_power_of_two()),
        _ => (layout.size(), layout.align()),
    };
    let (Some(len), align) = (len.checked_next_multiple_of(GRANULE), align.max(GRANULE)) else {
        return false;
    };
    let fits = |free: Range<usize>| {
        let start = free.start.checked_next_multiple_of(align);
        start.and_then(|start| start.checked_add(len)).is_some_and(|end| end <= free.end)
    };
    let mut used: Vec<Range<usize>> = blocks.map(Block::reach).collect();
    used.sort_by_key(|used| used.start);
    let mut free = all.start;
    for used in used {
        if fits(free..used.start.min(all.end)) {
            return true;
        }
        free = free.max(used.end);
    }
    fits(free..all.end)
}
