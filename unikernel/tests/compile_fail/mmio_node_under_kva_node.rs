//! A table of devices does not go below a table of kernel windows.

use unikernel::memory::page_table::level::{L1, L2};
use unikernel::memory::page_table::{Kva, Machine, Mmio, Node};

fn put<M: Machine>(parent: &mut Node<Kva, L2, M>, child: Node<Mmio, L1, M>) {
    let _ = parent.set_child(0, child);
}

fn main() {}
