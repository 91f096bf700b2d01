//! Memory: frames, typed page tables, and the address space that the unikernel lives in.
//!
//! | module | what it is about |
//! |---|---|
//! | [`frame`] | owned frames of RAM, and the allocator that they come from |
//! | [`page_table`] | tables that know by type what they own; operations on owned ranges; flushes. Has the protocol |
//! | [`address_space`], [`subtree`] | the root, which of its slots are whose, and the free addresses of each kind |
//! | [`audit`] | live tables as hardware reads them: checked against the notes on frames, or printed |
//! | [`live`] | the address space that CR3 points at, and what is mapped in it |
//! | [`simulation`] | a machine of ordinary memory, on which the core is tried out |
//! | [`address`], [`page_size`], [`kind`], [`atomic`] | the words that all of them use |
//! | [`ram`], [`range_set`], `image`, `guarded_stack` | which memory is RAM, which of that is free, what the image takes |
//! | [`heap`] | the global allocator |
//!
//! The core knows nothing of the processor, devices or the boot; it reaches the machine through
//! [`page_table::Machine`] and [`page_table::Shootdown`] alone, which [`live`] implements.

pub mod address;
pub mod address_space;
pub mod atomic;
pub mod audit;
pub mod frame;
pub(crate) mod guarded_stack;
pub mod heap;
pub(crate) mod image;
pub mod kind;
#[cfg(not(loom))]
pub mod live;
pub mod page_size;
pub mod page_table;
pub mod ram;
pub mod range_set;
#[cfg(not(loom))]
pub mod simulation;
pub mod subtree;

pub use guest_interface::layout::PAGE_LEN;

/// A range of addresses in bytes, empty when its ends are equal.
pub type AddressRange = core::ops::Range<u64>;

/// The largest range of whole pages inside `range`.
#[must_use]
pub fn whole_pages(range: &AddressRange) -> AddressRange {
    let start = range.start.checked_next_multiple_of(PAGE_LEN).unwrap_or(u64::MAX - PAGE_LEN + 1);
    let end = range.end - range.end % PAGE_LEN;
    start..end.max(start)
}

/// The smallest range of whole pages around `range`, cut at the last page of the address space.
#[must_use]
pub fn covering_pages(range: &AddressRange) -> AddressRange {
    let end = range.end.checked_next_multiple_of(PAGE_LEN).unwrap_or(u64::MAX - PAGE_LEN + 1);
    (range.start - range.start % PAGE_LEN).min(end)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_inside_and_around_a_range() {
        assert_eq!(whole_pages(&(1..3 * PAGE_LEN - 1)), PAGE_LEN..2 * PAGE_LEN);
        assert_eq!(whole_pages(&(0..PAGE_LEN)), 0..PAGE_LEN);
        assert!(whole_pages(&(1..PAGE_LEN)).is_empty());
        assert!(whole_pages(&(u64::MAX - 1..u64::MAX)).is_empty());
        assert_eq!(covering_pages(&(1..PAGE_LEN + 1)), 0..2 * PAGE_LEN);
        assert_eq!(covering_pages(&(PAGE_LEN..2 * PAGE_LEN)), PAGE_LEN..2 * PAGE_LEN);
        assert_eq!(covering_pages(&(0..u64::MAX)).end % PAGE_LEN, 0);
    }
}
