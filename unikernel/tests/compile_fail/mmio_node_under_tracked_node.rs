//! A table of devices does not go below a table of heap.

use unikernel::memory::page_table::level::{L1, L2};
use unikernel::memory::page_table::{Machine, Mmio, Node, Tracked};

fn put<M: Machine>(parent: &mut Node<Tracked, L2, M>, child: Node<Mmio, L1, M>) {
    let _ = parent.set_child(0, child);
}

fn main() {}
