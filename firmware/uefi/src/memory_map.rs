//! What memory is free, by the firmware's memory map (UEFI specification 7.2), and the map that the kernel is given, which has
//! the types of ACPI's E820 (ACPI specification 15.3). Maps are sorted by address.

use crate::failure::Failure;
use crate::segments::overlap;
use crate::start_info::{MapEntry, Type};
use arrayvec::ArrayVec;
use core::ops::Range;
use guest_interface::layout::{HIGH_RAM_START, PAGE_LEN};
use uefi::boot;
use uefi::mem::memory_map::{MemoryDescriptor, MemoryMapMut, MemoryMapOwned, MemoryType};

/// What a kernel reads.
pub(crate) const MAP_ENTRIES_MAX: usize = 64;

/// What is mapped when a kernel starts: it has to find there what it is told.
const MAPPED_AT_START: u64 = 1 << 30;

/// The map as it is.
///
/// # Errors
/// [`Failure::NoMemoryMap`].
pub(crate) fn current() -> Result<MemoryMapOwned, Failure> {
    let map = boot::memory_map(MemoryType::LOADER_DATA);
    let mut map = map.map_err(|error| Failure::NoMemoryMap(error.status()))?;
    map.sort();
    Ok(map)
}

/// Ends boot services. The map is the last one.
///
/// # Safety
/// Nothing that belongs to boot services is used any more.
pub(crate) unsafe fn exit_boot_services() -> MemoryMapOwned {
    // SAFETY: the caller's promise.
    let mut map = unsafe { boot::exit_boot_services(Some(MemoryType::LOADER_DATA)) };
    map.sort();
    map
}

/// Checks that the kernel can be told all of the map, while there is a console to say that it can't. Nothing that the loader
/// takes or gives back changes how many ranges that are.
///
/// # Errors
/// [`Failure::TooManyRanges`].
pub(crate) fn check_length() -> Result<(), Failure> {
    use uefi::mem::memory_map::MemoryMap;
    translate(current()?.entries()).map(drop)
}

/// Checks that memory is RAM, and free once boot services are gone.
///
/// # Errors
/// [`Failure::Taken`] for the first part that is not, [`Failure::NoRam`] for one that the map does not know.
pub(crate) fn check_place<'map>(
    map: impl Iterator<Item = &'map MemoryDescriptor>,
    place: &Range<u64>,
) -> Result<(), Failure> {
    let mut next = place.start;
    for descriptor in map.filter(|descriptor| overlap(&range(descriptor), place)) {
        let Range { start, end } = range(descriptor);
        if start > next {
            return Err(Failure::NoRam);
        }
        if kind(descriptor.ty) != Type::Ram {
            return Err(Failure::Taken { start, end, memory_type: descriptor.ty });
        }
        next = next.max(end);
    }
    if next < place.end { Err(Failure::NoRam) } else { Ok(()) }
}

/// The highest address of `len_bytes` of free memory that the kernel can read when it starts, and where no segment belongs.
pub(crate) fn find_room<'map>(
    map: impl Iterator<Item = &'map MemoryDescriptor>,
    len_bytes: u64,
    places: impl Iterator<Item = Range<u64>> + Clone,
) -> Option<u64> {
    let free = map.filter(|descriptor| descriptor.ty == MemoryType::CONVENTIONAL).map(range);
    free.filter_map(|free| {
        let mut end = free.end.min(MAPPED_AT_START);
        loop {
            let start = end.checked_sub(len_bytes)? & !(PAGE_LEN - 1);
            if start < free.start.max(HIGH_RAM_START) {
                return None;
            }
            match places.clone().find(|place| overlap(place, &(start..end))) {
                Some(place) => end = place.start,
                None => return Some(start),
            }
        }
    })
    .max()
}

/// The map for the kernel, in which neighbours of one type are one.
///
/// # Errors
/// [`Failure::TooManyRanges`].
pub(crate) fn translate<'map>(
    map: impl Iterator<Item = &'map MemoryDescriptor>,
) -> Result<ArrayVec<MapEntry, MAP_ENTRIES_MAX>, Failure> {
    let mut entries = ArrayVec::<MapEntry, MAP_ENTRIES_MAX>::new();
    for descriptor in map.filter(|descriptor| descriptor.page_count > 0) {
        let Range { start, end } = range(descriptor);
        let kind = kind(descriptor.ty);
        match entries.last_mut() {
            Some(last) if last.kind == kind && last.address + last.len_bytes == start => {
                last.len_bytes += end - start;
            }
            _ => entries
                .try_push(MapEntry::new(start, end - start, kind))
                .map_err(|_| Failure::TooManyRanges)?,
        }
    }
    Ok(entries)
}

fn range(descriptor: &MemoryDescriptor) -> Range<u64> {
    let len_bytes = descriptor.page_count.saturating_mul(PAGE_LEN);
    descriptor.phys_start..descriptor.phys_start.saturating_add(len_bytes)
}

/// What memory is to a kernel, when boot services and loader are gone.
fn kind(memory_type: MemoryType) -> Type {
    match memory_type {
        MemoryType::CONVENTIONAL
        | MemoryType::LOADER_CODE
        | MemoryType::LOADER_DATA
        | MemoryType::BOOT_SERVICES_CODE
        | MemoryType::BOOT_SERVICES_DATA => Type::Ram,
        MemoryType::ACPI_RECLAIM => Type::AcpiTables,
        MemoryType::ACPI_NON_VOLATILE => Type::AcpiNvs,
        MemoryType::UNUSABLE => Type::Unusable,
        MemoryType::PERSISTENT_MEMORY => Type::Persistent,
        _ => Type::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uefi::mem::memory_map::MemoryAttribute;

    fn descriptor(ty: MemoryType, start: u64, end: u64) -> MemoryDescriptor {
        MemoryDescriptor {
            ty,
            phys_start: start,
            page_count: (end - start) / PAGE_LEN,
            att: MemoryAttribute::empty(),
            ..Default::default()
        }
    }

    /// As firmware has it, with a hole from 0xa_0000 on.
    fn map() -> Vec<MemoryDescriptor> {
        [
            (MemoryType::BOOT_SERVICES_CODE, 0, 0x1000),
            (MemoryType::CONVENTIONAL, 0x1000, 0xa_0000),
            (MemoryType::CONVENTIONAL, 0x10_0000, 0x80_0000),
            (MemoryType::ACPI_NON_VOLATILE, 0x80_0000, 0x80_8000),
            (MemoryType::CONVENTIONAL, 0x80_8000, 0x100_0000),
            (MemoryType::LOADER_CODE, 0x100_0000, 0x110_0000),
            (MemoryType::LOADER_DATA, 0x110_0000, 0x120_0000),
            (MemoryType::BOOT_SERVICES_DATA, 0x120_0000, 0x200_0000),
            (MemoryType::RUNTIME_SERVICES_DATA, 0x200_0000, 0x201_0000),
            (MemoryType::RESERVED, 0x201_0000, 0x202_0000),
            (MemoryType::ACPI_RECLAIM, 0x202_0000, 0x203_0000),
            (MemoryType::UNUSABLE, 0x203_0000, 0x204_0000),
            (MemoryType::CONVENTIONAL, 0x1_0000_0000, 0x1_4000_0000),
            (MemoryType::PERSISTENT_MEMORY, 0x1_4000_0000, 0x1_8000_0000),
        ]
        .map(|(ty, start, end)| descriptor(ty, start, end))
        .into()
    }

    #[test]
    fn neighbours_of_one_type_are_merged() {
        let entries = translate(map().iter()).unwrap();
        let ranges: Vec<_> =
            entries.iter().map(|it| (it.address, it.address + it.len_bytes, it.kind as u32)).collect();
        assert_eq!(
            ranges,
            [
                (0, 0xa_0000, 1),
                (0x10_0000, 0x80_0000, 1),
                (0x80_0000, 0x80_8000, 4),
                (0x80_8000, 0x200_0000, 1),
                (0x200_0000, 0x202_0000, 2),
                (0x202_0000, 0x203_0000, 3),
                (0x203_0000, 0x204_0000, 5),
                (0x1_0000_0000, 0x1_4000_0000, 1),
                (0x1_4000_0000, 0x1_8000_0000, 7),
            ]
        );
    }

    #[test]
    fn a_map_that_no_kernel_reads_is_refused() {
        let map = |count: u64| -> Vec<_> {
            (0..count)
                .map(|it| descriptor(MemoryType::CONVENTIONAL, it * 0x2000, it * 0x2000 + 0x1000))
                .collect()
        };
        assert_eq!(translate(map(64).iter()).unwrap().len(), 64);
        assert_eq!(translate(map(65).iter()), Err(Failure::TooManyRanges));
        // However many there are, if they are one.
        let one: Vec<_> = (0..300)
            .map(|it| descriptor(MemoryType(1 + it as u32 % 4), it * 0x1000, (it + 1) * 0x1000))
            .collect();
        assert_eq!(translate(one.iter()).unwrap().len(), 1);
    }

    #[test]
    fn places_are_ram_from_end_to_end() {
        let check = |start, end| check_place(map().iter(), &(start..end));
        // Free, loader and boot services.
        assert_eq!(check(0x80_8000, 0x200_0000), Ok(()));
        assert_eq!(check(0x10_0000, 0x80_0000), Ok(()));
        assert_eq!(check(0x20_0000, 0x20_0000), Ok(()));
        let nvs =
            Failure::Taken { start: 0x80_0000, end: 0x80_8000, memory_type: MemoryType::ACPI_NON_VOLATILE };
        assert_eq!(check(0x10_0000, 0x80_0001), Err(nvs));
        assert_eq!(check(0x80_7fff, 0x80_8001), Err(nvs));
        let runtime = Failure::Taken {
            start: 0x200_0000,
            end: 0x201_0000,
            memory_type: MemoryType::RUNTIME_SERVICES_DATA,
        };
        assert_eq!(check(0x1ff_f000, 0x202_0000), Err(runtime));
        for (start, end) in [(0xf_f000, 0x10_0001), (0x1_3fff_0000 - 0x8000_0000, 0xc000_0000)] {
            assert_eq!(check(start, end), Err(Failure::NoRam), "{start:#x}");
        }
        assert_eq!(check_place(map()[..5].iter(), &(0x90_0000..0x100_0001)), Err(Failure::NoRam));
    }

    #[test]
    fn room_is_high_free_and_no_segments_place() {
        let find = |len, places: &[(u64, u64)]| {
            find_room(map().iter(), len, places.iter().map(|(start, end)| *start..*end))
        };
        assert_eq!(find(0x1000, &[]), Some(0xff_f000));
        assert_eq!(find(0x1001, &[]), Some(0xff_e000));
        assert_eq!(find(0x1000, &[(0xff_ffff, 0x100_0000)]), Some(0xff_e000));
        assert_eq!(find(0x1000, &[(0xf0_0800, 0xff_f800), (0xe0_0000, 0xf0_0000)]), Some(0xdf_f000));
        assert_eq!(find(0x1000, &[(0x80_0000, 0x200_0000)]), Some(0x7f_f000));
        // The first free range behind the hole has 7 MiB, the second 32 KiB less than 8.
        assert_eq!(find(0x7f_8000, &[]), Some(0x80_8000));
        assert_eq!(find(0x7f_9000, &[]), None);
        assert_eq!(find(0x70_0000, &[(0x90_0000, 0x90_0001)]), Some(0x10_0000));
        assert_eq!(find(0x1000, &[(0x10_0000, 0x100_0000)]), None);
    }

    #[test]
    fn room_ends_below_1_gib() {
        let map = [descriptor(MemoryType::CONVENTIONAL, 0x3000_0000, 0x8000_0000)];
        assert_eq!(find_room(map.iter(), 0x3000, [].into_iter()), Some(0x3fff_d000));
    }
}
