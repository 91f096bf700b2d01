//! Nothing goes below a table of the last level.

use unikernel::memory::page_table::level::L1;
use unikernel::memory::page_table::{Machine, Node, Tracked};

fn put<M: Machine>(parent: &mut Node<Tracked, L1, M>, child: Node<Tracked, L1, M>) {
    let _ = parent.set_child(0, child);
}

fn main() {}
