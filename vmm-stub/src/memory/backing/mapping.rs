//! Guest memory: each region one mapping of the kind that is asked for, in address space congruent to it.

use super::congruence::{Advice, Mapping, Reservation};
use super::hugetlb::Demand;
use super::transparent::ThpUnable;
use super::{Backing, HUGE_PAGE_LEN};
use crate::error::Error;
use crate::memory::GuestMemory;
use crate::memory::layout::{Region, backed_regions};
use crate::memory::size::MemoryLen;
use guest_interface::layout::{DEVICE_HOLE_END, DEVICE_HOLE_START, IMAGE_BASE, MEMORY_LEN_MIN};
use nix::errno::Errno;
use nix::sys::mman::MapFlags;
use vm_memory::{GuestAddress, GuestRegionMmap};

// Memory of whole huge pages has regions of whole huge pages.
const _: () =
    assert!(DEVICE_HOLE_START.is_multiple_of(HUGE_PAGE_LEN) && DEVICE_HOLE_END.is_multiple_of(HUGE_PAGE_LEN));

/// Maps the RAM of a machine, of a size that the backing fits. The memory reads as zeroes. Pages of a pool are taken at
/// once, and `go_on` is asked before each part of them; all else takes host memory only where it is touched.
///
/// # Errors
/// That of `go_on`, [`Error::MapMemory`] if the host gives no address space, [`Error::Thp`] or [`Error::Hugetlb`] if it does not give what
/// was asked for.
pub(crate) fn map(
    memory: MemoryLen,
    backing: Option<Backing>,
    go_on: impl Fn() -> Result<(), Error>,
) -> Result<GuestMemory, Error> {
    let demand = match backing {
        Some(Backing::Hugetlb2m) => Some(Demand::new(memory)?),
        Some(Backing::Anonymous | Backing::Thp) | None => None,
    };
    let map_region = |region: Region| {
        let reserved = Reservation::new(region).map_err(map_error)?;
        let mapping = match demand {
            Some(demand) => demand.map(reserved, &go_on)?,
            // Of pages that come one by one as they are touched.
            None => reserved.replace(MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE).map_err(map_error)?,
        };
        advise(&mapping, region, backing)?;
        into_region(mapping, region)
    };
    let regions = backed_regions(memory).map(map_region).collect::<Result<Vec<_>, _>>()?;
    GuestMemory::from_regions(regions).map_err(map_error)
}

/// Maps a region of small pages that come one by one as they are touched, and that no core dump needs.
///
/// # Errors
/// [`Error::MapMemory`] if the host gives no address space.
pub(crate) fn map_small_pages(region: Region) -> Result<GuestRegionMmap, Error> {
    let reserved = Reservation::new(region).map_err(map_error)?;
    let mapping = reserved.replace(MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE).map_err(map_error)?;
    advise(&mapping, region, Some(Backing::Anonymous))?;
    into_region(mapping, region)
}

fn into_region(mapping: Mapping, region: Region) -> Result<GuestRegionMmap, Error> {
    GuestRegionMmap::new(mapping.into_region().map_err(map_error)?, GuestAddress(region.start))
        .ok_or_else(|| Error::MapMemory("the region ends beyond the address space".into()))
}

fn map_error<E: std::error::Error + Send + Sync + 'static>(source: E) -> Error {
    Error::MapMemory(source.into())
}

/// The part of a region that does not get transparent huge pages: below the image is only boot data, a few pages, and
/// clearing a huge page for them would take longer than all else that is done to them.
const fn small_pages_len(region: Region) -> usize {
    if region.start == 0 { IMAGE_BASE as usize } else { 0 }
}
const _: () = assert!(IMAGE_BASE.is_multiple_of(HUGE_PAGE_LEN) && IMAGE_BASE < MEMORY_LEN_MIN);

/// Tells the kernel which pages a region is to be made of, and that no core dump needs it.
fn advise(mapping: &Mapping, region: Region, backing: Option<Backing>) -> Result<(), Error> {
    mapping.advise(mapping.whole(), Advice::NoDump).map_err(map_error)?;
    let huge = || mapping.advise(small_pages_len(region)..mapping.whole().end, Advice::HugePages);
    match backing {
        Some(Backing::Hugetlb2m) => Ok(()),
        Some(Backing::Anonymous) => match mapping.advise(mapping.whole(), Advice::SmallPages) {
            // A kernel without transparent huge pages does not know it, and has small ones only.
            Ok(()) | Err(Errno::EINVAL) => Ok(()),
            Err(source) => Err(map_error(source)),
        },
        Some(Backing::Thp) => match huge() {
            Ok(()) => Ok(()),
            Err(Errno::EINVAL) => Err(ThpUnable::NotInKernel.into()),
            Err(source) => Err(map_error(source)),
        },
        None => {
            // Where the kernel refuses, the guest merely runs slower.
            let _ = huge();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::backing::hugetlb::HugetlbUnable;
    use vm_memory::{Bytes, GuestMemoryBackend, GuestMemoryRegion};

    const GIB: u64 = 1 << 30;
    /// Kinds that every host has memory of.
    const COMMON: [Option<Backing>; 2] = [None, Some(Backing::Anonymous)];

    #[test]
    fn memory_is_congruent_by_its_size_zeroed_and_ends_where_it_should() {
        for (len, modulus) in [(16 << 20, HUGE_PAGE_LEN), (GIB, GIB), (5 * GIB, GIB)] {
            for backing in COMMON {
                let memory = map(MemoryLen::new(len).unwrap(), backing, || Ok(())).unwrap();
                for region in memory.iter() {
                    let host = region.as_ptr() as u64;
                    assert_eq!(host % modulus, region.start_addr().0 % modulus, "{len:#x}");
                    let last = GuestAddress(region.start_addr().0 + region.len() - 8);
                    assert_eq!(memory.read_obj::<u64>(last).unwrap(), 0);
                    memory.write_obj(u64::MAX, last).unwrap();
                    assert!(memory.write_obj(0_u64, GuestAddress(last.0 + 1)).is_err());
                }
            }
        }
    }

    #[test]
    fn the_advice_is_in_the_flags_of_the_mapping() {
        for (backing, flag) in [(None, "hg"), (Some(Backing::Anonymous), "nh")] {
            let memory = map(MemoryLen::new(16 << 20).unwrap(), backing, || Ok(())).unwrap();
            let last = memory.iter().next().unwrap().as_ptr() as u64 + (16 << 20);
            let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let mapping = smaps.split_once(&format!("-{last:x} rw-p ")).unwrap().1;
            let flags = mapping.lines().find_map(|line| line.strip_prefix("VmFlags: ")).unwrap();
            for flag in [flag, "dd"] {
                assert!(flags.split(' ').any(|word| word == flag), "{backing:?}: {flags}");
            }
        }
    }

    /// A pool as large as the largest machine is not to be expected.
    #[test]
    fn a_pool_that_is_too_small_is_found_when_it_is_mapped() {
        let memory = MemoryLen::new(511 * GIB).unwrap();
        match map(memory, Some(Backing::Hugetlb2m), || Ok(())) {
            Err(Error::Hugetlb(HugetlbUnable::TooSmall { needed, .. })) => assert_eq!(needed, 511 * 512),
            Err(Error::Hugetlb(HugetlbUnable::NoPool { .. })) => {}
            other => panic!("{other:?}"),
        }
    }
}
