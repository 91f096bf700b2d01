//! Which addresses of a kind are free.

use super::Block;
use unikernel::memory::PAGE_LEN;
use unikernel::memory::address::VirtAddr;
use unikernel::memory::address_space::{NULL_GUARD_BYTES, SLOT_MAP};
use unikernel::memory::kind::Kind;
use unikernel::memory::page_table::{Error, VirtRange};

/// Free addresses, as disjoint blocks that do not touch, in order.
#[derive(Debug)]
pub(crate) struct Addresses {
    kind: Kind,
    free: Vec<Block>,
}

impl Addresses {
    pub(crate) fn new(kind: Kind) -> Self {
        let slots = SLOT_MAP.iter().filter(|slots| slots.kind == kind);
        let free = slots
            .map(|slots| Block {
                start: ((slots.first as u64) << 39).max(NULL_GUARD_BYTES),
                end: (slots.end as u64) << 39,
            })
            .collect();
        Self { kind, free }
    }

    pub(crate) fn reserve(&mut self, len_bytes: u64, align_bytes: u64) -> Result<Block, Error> {
        let zero = VirtAddr::new(0);
        if len_bytes == 0 {
            return Err(Error::Empty { at: zero });
        }
        if !len_bytes.is_multiple_of(PAGE_LEN) || !align_bytes.is_power_of_two() || align_bytes < PAGE_LEN {
            return Err(Error::Unaligned { range: VirtRange::new(zero, len_bytes), align_bytes });
        }
        let fits = |free: &Block| {
            let start = free.start.next_multiple_of(align_bytes);
            (u128::from(start) + u128::from(len_bytes) <= u128::from(free.end))
                .then(|| Block::new(start, len_bytes))
        };
        let found = self.free.iter().find_map(fits);
        let found = found.ok_or(Error::NoRange { len_bytes, align_bytes, kind: self.kind })?;
        self.take(found);
        Ok(found)
    }

    pub(crate) fn reserve_at(&mut self, range: VirtRange) -> Result<Block, Error> {
        let block = Block::check(range, PAGE_LEN)?;
        if !self.free.iter().any(|free| free.contains(block)) {
            return Err(Error::NotFree { range, kind: self.kind });
        }
        self.take(block);
        Ok(block)
    }

    /// Takes a block of what is free.
    pub(crate) fn take(&mut self, block: Block) {
        let without = |free: &Block| {
            let below = Block { start: free.start, end: block.start.min(free.end) };
            let above = Block { start: block.end.max(free.start), end: free.end };
            [below, above].into_iter().filter(|rest| rest.start < rest.end)
        };
        self.free = self.free.iter().flat_map(without).collect();
    }

    pub(crate) fn give_back(&mut self, block: Block) {
        assert!(!self.free.iter().any(|free| free.touches(block)), "{block:?} was free already");
        self.free.push(block);
        self.free.sort_by_key(|free| free.start);
        let mut joined: Vec<Block> = Vec::new();
        for free in &self.free {
            match joined.last_mut() {
                Some(last) if last.end == free.start => last.end = free.end,
                _ => joined.push(*free),
            }
        }
        self.free = joined;
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        self.free.iter().map(|free| free.end - free.start).sum()
    }

    /// Whether all of the block is free.
    pub(crate) fn has(&self, block: Block) -> bool {
        self.free.iter().any(|free| free.contains(block))
    }
}
