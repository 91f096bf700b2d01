//! A table does not go two levels below its parent.

use unikernel::memory::page_table::level::{L1, L3};
use unikernel::memory::page_table::{Machine, Node, Tracked};

fn put<M: Machine>(parent: &mut Node<Tracked, L3, M>, child: Node<Tracked, L1, M>) {
    let _ = parent.set_child(0, child);
}

fn main() {}
