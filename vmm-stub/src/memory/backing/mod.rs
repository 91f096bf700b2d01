//! Host memory behind guest RAM.
//!
//! | part | holds |
//! |---|---|
//! | [`kind`] | which memory can be asked for |
//! | [`mapping`] | guest memory made of it, region by region |
//! | [`congruence`] | address space for a region, such that huge pages can be used, and the memory that takes its place |
//! | [`transparent`] | whether the host gives transparent huge pages |
//! | [`hugetlb`] | the host's pool of 2 MiB pages, and pages from it |
//!
//! Guest memory stays mapped until the process ends. One process runs one machine, the kernel frees the memory at exit
//! anyway, and a mapping that never goes away needs no proof that nobody uses it any more.
//!
//! Without a wish it is what [`Backing::Thp`] is, if the host has that, and small pages if not. A wish is fulfilled or is
//! an error, before the guest runs. For [`Backing::Thp`] that holds for the advice to the kernel and no further: which pages
//! it gives shows when the guest touches its memory, and where no huge page is free then, it gives small ones and says
//! nothing. Only [`Backing::Hugetlb2m`] is sure to be of huge pages.

mod congruence;
pub(crate) mod hugetlb;
mod kind;
mod mapping;
pub(crate) mod transparent;

pub(crate) use kind::Backing;
pub(crate) use mapping::{map, map_small_pages};

use crate::error::Error;
use crate::memory::available;
use crate::memory::size::MemoryLen;

/// Length of the host's huge pages in bytes.
const HUGE_PAGE_LEN: u64 = 2 << 20;

/// Refuses a machine whose memory the host does not have, or not as it is asked for.
///
/// # Errors
/// [`Error::HostMemory`], [`Error::Thp`], [`Error::Hugetlb`].
pub(crate) fn check(backing: Option<Backing>, memory: MemoryLen) -> Result<(), Error> {
    match backing {
        // The pool is not part of the memory that the host has available for other uses.
        Some(Backing::Hugetlb2m) => return Ok(hugetlb::Demand::new(memory)?.check()?),
        Some(Backing::Thp) => transparent::check()?,
        Some(Backing::Anonymous) | None => {}
    }
    available::check(memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::layout::MEMORY_LEN_MAX;

    /// No machine has as much as the largest guest.
    #[test]
    fn each_kind_is_looked_for_where_it_comes_from() {
        let check = |backing| check(backing, MemoryLen::new(MEMORY_LEN_MAX).unwrap());
        for backing in [None, Some(Backing::Anonymous)] {
            assert!(matches!(check(backing), Err(Error::HostMemory { .. })), "{backing:?}");
        }
        assert!(matches!(check(Some(Backing::Hugetlb2m)), Err(Error::Hugetlb(_))));
    }
}
