//! Memory of the heap by the leaves that it lies in.

use crate::machine::walked;
use crate::walk::Leaf;
use alloc::vec::Vec;
use unikernel::heap::LeafPages;
use unikernel::memory::address::VirtAddr;
use unikernel::memory::page_table::level::LeafSize;

/// Pages of the heap, each with the leaf that maps it.
pub(crate) struct Blocks<S: LeafSize> {
    pub(crate) chosen: Vec<(VirtAddr, Leaf)>,
    _pages: Vec<LeafPages<S>>,
}

/// So many pages of this size; `None` if there are not as many.
pub(crate) fn pages_of<S: LeafSize>(count: usize) -> Option<Blocks<S>> {
    let pages: Vec<LeafPages<S>> = (0..count).map_while(|_| LeafPages::map(1).ok()).collect();
    let leaf = |page: &LeafPages<S>| {
        let address = VirtAddr::new(page.as_ptr() as u64);
        let Some(leaf) = walked(address) else { panic!("{address} is not mapped") };
        assert_eq!((leaf.virt, leaf.len_bytes), (address.as_u64(), S::LEN_BYTES));
        (address, leaf)
    };
    let chosen: Vec<_> = pages.iter().map(leaf).collect();
    (chosen.len() == count).then_some(Blocks { chosen, _pages: pages })
}

/// So many pages of this size, which the machine must have.
pub(crate) fn blocks_in_leaves_of<S: LeafSize>(count: usize) -> Blocks<S> {
    let Some(blocks) = pages_of(count) else { panic!("there are no {count} pages of {}", S::NAME) };
    blocks
}
