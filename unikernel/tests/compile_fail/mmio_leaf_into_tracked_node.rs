//! A device leaf does not go into a table of heap.

use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::attributes::DataAccess;
use unikernel::memory::page_table::level::L1;
use unikernel::memory::page_table::{Machine, MmioLeaf, Node, Tracked};

fn put<M: Machine>(table: &mut Node<Tracked, L1, M>, leaf: MmioLeaf<Size4KiB>, attributes: DataAccess) {
    let _ = table.set_leaf(0, leaf, attributes);
}

fn main() {}
