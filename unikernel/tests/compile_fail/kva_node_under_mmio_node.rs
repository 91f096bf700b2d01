//! A table of kernel windows does not go below a table of devices.

use unikernel::memory::page_table::level::{L1, L2};
use unikernel::memory::page_table::{Kva, Machine, Mmio, Node};

fn put<M: Machine>(parent: &mut Node<Mmio, L2, M>, child: Node<Kva, L1, M>) {
    let _ = parent.set_child(0, child);
}

fn main() {}
