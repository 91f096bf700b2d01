//! A device leaf does not go into a table of kernel windows.

use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::attributes::KernelAccess;
use unikernel::memory::page_table::level::L1;
use unikernel::memory::page_table::{Kva, Machine, MmioLeaf, Node};

fn put<M: Machine>(table: &mut Node<Kva, L1, M>, leaf: MmioLeaf<Size4KiB>, attributes: KernelAccess) {
    let _ = table.set_leaf(0, leaf, attributes);
}

fn main() {}
