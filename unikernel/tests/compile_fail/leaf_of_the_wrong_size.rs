//! A frame of 2 MiB does not go into a table of 4 KiB leaves.

use unikernel::memory::frame::Frame;
use unikernel::memory::page_size::Size2MiB;
use unikernel::memory::page_table::attributes::DataAccess;
use unikernel::memory::page_table::level::L1;
use unikernel::memory::page_table::{Machine, Node, Tracked};

fn put<M: Machine>(table: &mut Node<Tracked, L1, M>, frame: Frame<Size2MiB, M>) {
    let _ = table.set_leaf(0, frame, DataAccess::ReadWrite);
}

fn main() {}
