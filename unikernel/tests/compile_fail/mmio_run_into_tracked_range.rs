//! Devices are not mapped among heap.

use unikernel::memory::address::VirtAddr;
use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::attributes::DataAccess;
use unikernel::memory::page_table::{Machine, MmioRun, Tracked, VaRange};

fn map<M: Machine>(
    range: &mut VaRange<Tracked, M>,
    at: VirtAddr,
    what: MmioRun<Size4KiB>,
    attributes: DataAccess,
) {
    let _ = range.map::<Size4KiB, _>(at, what, attributes);
}

fn main() {}
