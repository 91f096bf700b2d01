//! The host's pool of 2 MiB pages (the kernel's `Documentation/admin-guide/mm/hugetlbpage.rst`), and guest memory of it.
//!
//! A page that is missing when it is touched ends a process by SIGBUS. Therefore all pages are reserved when they are
//! mapped, and then taken: a reservation binds neither a cgroup that limits pages in use nor the nodes of a NUMA policy.
//! Each is cleared when it is taken, which is seconds for some GiB, so they are taken in parts.

use super::HUGE_PAGE_LEN;
use super::congruence::{Advice, Mapping, Reservation};
use crate::error::Error;
use crate::memory::size::MemoryLen;
use nix::errno::Errno;
use nix::sys::mman::MapFlags;
use std::io;
use std::ops::Range;

/// What the kernel tells of the pool, a number a file.
const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
/// The file that sets its size.
const SIZE: &str = "nr_hugepages";

/// The pool at one moment, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    /// All that there are, those beyond the size that was set included.
    total: u64,
    /// Those that nobody has taken or reserved.
    free: u64,
    /// How many the kernel may add by itself when they are reserved, if it finds memory for them.
    addable: u64,
}

/// Why the pool gives no memory to a guest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HugetlbUnable {
    #[error(
        "the host has no pool of 2 MiB pages that can be seen: {POOL}/{file}: {source}; use a kernel with CONFIG_HUGETLBFS, \
         mount /sys, or give another --backing"
    )]
    NoPool { file: &'static str, source: io::Error },

    /// The command sets the size by which exactly the missing pages are added.
    #[error(
        "the guest's memory needs {needed} pages of 2 MiB and the host's pool has {} free; make the pool large enough \
         with `echo {} > {POOL}/{SIZE}` as root, or give another --backing",
        .pool.free, .pool.total + needed.saturating_sub(.pool.free)
    )]
    TooSmall { needed: u64, pool: Pool },

    #[error(
        "the host does not give {needed} pages of 2 MiB, of which its pool has {} free: can't {what} them: {source}; \
         raise the limit of the cgroup (hugetlb.2MB.max, hugetlb.2MB.rsvd.max), allow more NUMA nodes, or give another \
         --backing",
        .pool.free
    )]
    Denied { needed: u64, pool: Pool, what: &'static str, source: io::Error },
}

impl Pool {
    fn read() -> Result<Self, HugetlbUnable> {
        Self::read_by(|file| std::fs::read_to_string(format!("{POOL}/{file}")))
    }

    fn read_by(read: impl Fn(&'static str) -> io::Result<String>) -> Result<Self, HugetlbUnable> {
        let number = |file| {
            let no_pool = |source| HugetlbUnable::NoPool { file, source };
            let text = read(file).map_err(no_pool)?;
            text.trim()
                .parse::<u64>()
                .map_err(|error| no_pool(io::Error::new(io::ErrorKind::InvalidData, error)))
        };
        let (free, reserved) = (number("free_hugepages")?, number("resv_hugepages")?);
        let (addable, added) = (number("nr_overcommit_hugepages")?, number("surplus_hugepages")?);
        Ok(Self {
            total: number(SIZE)?,
            free: free.saturating_sub(reserved),
            addable: addable.saturating_sub(added),
        })
    }
}

/// So many pages for a guest's memory, and the pool before any was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    needed: u64,
    pool: Pool,
}

impl Demand {
    /// What RAM of a multiple of 2 MiB needs.
    ///
    /// # Errors
    /// [`HugetlbUnable::NoPool`].
    pub(crate) fn new(memory: MemoryLen) -> Result<Self, HugetlbUnable> {
        Ok(Self { needed: memory.bytes().div_ceil(HUGE_PAGE_LEN), pool: Pool::read()? })
    }

    /// Refuses a pool that is known to be too small.
    ///
    /// # Errors
    /// [`HugetlbUnable::TooSmall`].
    pub(crate) fn check(self) -> Result<(), HugetlbUnable> {
        let Self { needed, pool } = self;
        if needed > pool.free.saturating_add(pool.addable) {
            return Err(HugetlbUnable::TooSmall { needed, pool });
        }
        Ok(())
    }

    /// Puts pages of the pool in the place of a reservation of whole huge pages, aligned to one. Before each part of them
    /// it asks whether to go on.
    ///
    /// # Errors
    /// [`HugetlbUnable::TooSmall`], [`HugetlbUnable::Denied`], and that of `go_on`.
    pub(super) fn map(
        self,
        reserved: Reservation,
        go_on: &impl Fn() -> Result<(), Error>,
    ) -> Result<Mapping, Error> {
        // Without MAP_NORESERVE, so all pages are reserved here.
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_HUGETLB | MapFlags::MAP_HUGE_2MB;
        let mapping = reserved.replace(flags).map_err(|source| self.refused("reserve", source))?;
        for part in parts(mapping.whole().end) {
            go_on()?;
            match mapping.advise(part, Advice::TakeAll) {
                Ok(()) => {}
                // Linux before 5.14 does not know it; the reservation has to do.
                Err(Errno::EINVAL) => break,
                Err(source) => return Err(self.refused("take", source).into()),
            }
        }
        Ok(mapping)
    }

    /// Why the kernel has refused what the pool seemed to have.
    fn refused(self, what: &'static str, source: Errno) -> HugetlbUnable {
        let Self { needed, pool } = self;
        if needed > pool.free {
            HugetlbUnable::TooSmall { needed, pool }
        } else {
            HugetlbUnable::Denied { needed, pool, what, source: source.into() }
        }
    }
}

/// What is taken at once, of memory of this length: a few hundredths of a second.
fn parts(len: usize) -> impl Iterator<Item = Range<usize>> {
    const PART_LEN: usize = 64 << 20;
    (0..len).step_by(PART_LEN).map(move |start| start..len.min(start + PART_LEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_small_and_make_up_the_whole() {
        for len in [2 << 20, 64 << 20, 66 << 20, 4 << 30] {
            let mut end = 0;
            for part in parts(len) {
                assert_eq!(part.start, end);
                assert!((1..=64 << 20).contains(&part.len()));
                end = part.end;
            }
            assert_eq!(end, len);
        }
    }

    #[test]
    fn what_is_reserved_is_not_free() {
        let read = |file| {
            Ok(match file {
                "nr_hugepages" => "40\n",
                "free_hugepages" => "30\n",
                "resv_hugepages" => "12\n",
                "nr_overcommit_hugepages" => "8\n",
                "surplus_hugepages" => "5\n",
                _ => "no number",
            }
            .to_owned())
        };
        assert_eq!(Pool::read_by(read).unwrap(), Pool { total: 40, free: 18, addable: 3 });
    }

    #[test]
    fn a_host_that_tells_of_no_pool_is_told_where_it_was_looked_for() {
        for read in [Err(io::ErrorKind::NotFound), Ok(String::new())] {
            let error = Pool::read_by(|_| read.clone().map_err(Into::into)).unwrap_err().to_string();
            assert!(error.contains(POOL) && error.contains("CONFIG_HUGETLBFS"), "{error}");
        }
    }

    #[test]
    fn a_pool_that_is_too_small_is_told_with_the_size_that_would_do() {
        let demand = |free, addable| Demand { needed: 32, pool: Pool { total: 40, free, addable } };
        assert!(demand(32, 0).check().is_ok() && demand(30, 2).check().is_ok());
        let error = demand(30, 1).check().unwrap_err().to_string();
        assert!(error.contains("needs 32 pages of 2 MiB") && error.contains("30 free"), "{error}");
        assert!(
            error.contains("`echo 42 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages`"),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn a_refusal_of_pages_that_are_free_is_another() {
        let refused = |free| {
            let demand = Demand { needed: 32, pool: Pool { total: 40, free, addable: 9 } };
            demand.refused("reserve", Errno::ENOMEM).to_string()
        };
        assert!(refused(31).contains("`echo 41 > "), "the kernel found no memory to add");
        let denied = refused(32);
        assert!(denied.contains("can't reserve") && denied.contains("hugetlb.2MB.max"), "{denied}");
    }
}
