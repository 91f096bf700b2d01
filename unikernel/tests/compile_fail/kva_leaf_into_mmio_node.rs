//! A window leaf does not go into a table of devices.

use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::attributes::MmioAttributes;
use unikernel::memory::page_table::level::L1;
use unikernel::memory::page_table::{KvaLeaf, Machine, Mmio, Node};

fn put<M: Machine>(table: &mut Node<Mmio, L1, M>, leaf: KvaLeaf<Size4KiB>, attributes: MmioAttributes) {
    let _ = table.set_leaf(0, leaf, attributes);
}

fn main() {}
