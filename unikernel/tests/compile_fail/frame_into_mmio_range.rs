//! Heap is not mapped among devices.

use unikernel::memory::address::VirtAddr;
use unikernel::memory::frame::Frame;
use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::attributes::MmioAttributes;
use unikernel::memory::page_table::{Machine, Mmio, VaRange};

fn map<M: Machine>(
    range: &mut VaRange<Mmio, M>,
    at: VirtAddr,
    what: Frame<Size4KiB, M>,
    attributes: MmioAttributes,
) {
    let _ = range.map::<Size4KiB, _>(at, what, attributes);
}

fn main() {}
