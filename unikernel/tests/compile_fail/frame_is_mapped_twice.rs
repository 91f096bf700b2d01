//! A frame that was mapped is the table's.

use unikernel::memory::address::VirtAddr;
use unikernel::memory::frame::Frame;
use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::attributes::DataAccess;
use unikernel::memory::page_table::{Machine, Tracked, VaRange};

fn map<M: Machine>(range: &mut VaRange<Tracked, M>, places: [VirtAddr; 2], frame: Frame<Size4KiB, M>) {
    let _ = range.map(places[0], frame, DataAccess::ReadWrite);
    let _ = range.map(places[1], frame, DataAccess::ReadWrite);
}

fn main() {}
