//! Blocks of the heap by the leaves that they lie in.

use crate::walk::{Leaf, leaf_of, leaves};
use alloc::vec::Vec;
use unikernel::memory::address::VirtAddr;
use unikernel::memory::page_size::PageSize;

/// Blocks of the heap, of which some lie in leaves of their own of a size that was asked for.
pub(crate) struct Blocks {
    /// The blocks that were looked for, with their leaves.
    pub(crate) chosen: Vec<(VirtAddr, Leaf)>,
    _all: Vec<Vec<u64>>,
}

/// Takes blocks of a MiB until so many lie in heap leaves of this size as a whole, in one each.
pub(crate) fn blocks_in_leaves_of<S: PageSize>(count: usize) -> Blocks {
    let heap = leaves();
    let (mut chosen, mut all): (Vec<(VirtAddr, Leaf)>, _) =
        (Vec::with_capacity(count), Vec::with_capacity(4096));
    while chosen.len() < count {
        let mut block: Vec<u64> = Vec::new();
        assert!(block.try_reserve_exact((1 << 20) / 8).is_ok(), "no block in a leaf of {}", S::NAME);
        let address = VirtAddr::new(block.as_ptr() as u64);
        all.push(block);
        let leaf = leaf_of(&heap, address.as_u64()).copied();
        let last = address.as_u64() + (1 << 20) - 1;
        let is_new = |leaf: &Leaf| chosen.iter().all(|(_, other)| other.virt != leaf.virt);
        if let Some(leaf) =
            leaf.filter(|leaf| leaf.len_bytes == S::LEN_BYTES && leaf.contains(last) && is_new(leaf))
        {
            chosen.push((address, leaf));
        }
    }
    Blocks { chosen, _all: all }
}
