//! Heap is not mapped among kernel windows.

use unikernel::memory::address::VirtAddr;
use unikernel::memory::frame::Frame;
use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::attributes::KernelAccess;
use unikernel::memory::page_table::{Kva, Machine, VaRange};

fn map<M: Machine>(
    range: &mut VaRange<Kva, M>,
    at: VirtAddr,
    what: Frame<Size4KiB, M>,
    attributes: KernelAccess,
) {
    let _ = range.map::<Size4KiB, _>(at, what, attributes);
}

fn main() {}
