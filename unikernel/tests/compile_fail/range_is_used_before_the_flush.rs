//! A range whose mappings were taken out is gone until the flush.

use unikernel::memory::address::VirtAddr;
use unikernel::memory::frame::Frame;
use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::attributes::DataAccess;
use unikernel::memory::page_table::{Machine, Tracked, VaRange};

fn remap<M: Machine>(mut range: VaRange<Tracked, M>, at: VirtAddr, frame: Frame<Size4KiB, M>) {
    let _detached = range.unmap();
    let _ = range.map(at, frame, DataAccess::ReadWrite);
}

fn main() {}
