//! Windows on device registers: what they reach, what is refused, and that they leave nothing behind.

use crate::Test;
use crate::machine::{audit, free_frames, machine, trim};
use crate::walk::{
    CACHE_DISABLE, Leaf, PAT_OF_4KIB, PAT_OF_LARGE, PRESENT, WRITE_THROUGH, end_of_walk, leaf_of, leaves,
};
use alloc::vec::Vec;
use unikernel::cpu::features;
use unikernel::memory::address::{PhysAddr, VirtAddr};
use unikernel::memory::live::{MmioError, MmioWindow, regions};
use unikernel::memory::page_table::attributes::{DataAccess, DeviceCache, MmioAttributes, PAT_MSR_VALUE};
use unikernel::memory::page_table::{Error, Machine, Mmio, TableMemory};
use unikernel::memory::ram;
use unikernel::println;
use x86::msr::{IA32_PAT, rdmsr};

pub(crate) const TESTS: &[Test] = &[
    ("device_windows::the_local_apic_answers", the_local_apic_answers),
    ("device_windows::only_registers_of_the_window_are_reached", only_registers_of_the_window_are_reached),
    ("device_windows::what_is_no_device_is_refused", what_is_no_device_is_refused),
    ("device_windows::guards_and_names_come_and_go", guards_and_names_come_and_go),
    ("device_windows::cache_types_are_as_asked", cache_types_are_as_asked),
    ("device_windows::the_pat_has_the_types_that_entries_select", the_pat_has_the_types_that_entries_select),
    ("device_windows::a_thousand_windows_leave_nothing", a_thousand_windows_leave_nothing),
    ("device_windows::windows_close_in_any_order", windows_close_in_any_order),
];

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// A part of the device hole that no machine has a device in.
const NO_DEVICE: PhysAddr = PhysAddr::new(0xd000_0000);
const LOCAL_APIC: PhysAddr = PhysAddr::new(0xfee0_0000);

const fn attributes(cache: DeviceCache) -> MmioAttributes {
    MmioAttributes { access: DataAccess::ReadWrite, cache }
}

const UNCACHED: MmioAttributes = attributes(DeviceCache::Uncached);

fn try_map(start: PhysAddr, len_bytes: u64, attributes: MmioAttributes) -> Result<MmioWindow, MmioError> {
    // SAFETY: the tests write where no device is, and only read the local APIC.
    unsafe { MmioWindow::map("device of the tests", start, len_bytes, attributes) }
}

fn map(start: PhysAddr, len_bytes: u64, attributes: MmioAttributes) -> MmioWindow {
    try_map(start, len_bytes, attributes).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(start: PhysAddr, len_bytes: u64) -> MmioError {
    match try_map(start, len_bytes, UNCACHED) {
        Err(error) => error,
        Ok(window) => panic!("{len_bytes:#x} bytes at {start} were mapped by {window:?}"),
    }
}

/// Version register (Intel SDM volume 3, 11.4.8): version 0x10 to 0x15 for an APIC that is part of the processor, and from
/// 3 local vectors up. In x2APIC mode, in which the kernel has it where it can, the registers are MSRs: what a hypervisor shows
/// in memory then is its own affair (Intel SDM volume 3, 11.12.2), and a KVM shows ones.
fn the_local_apic_answers() {
    let window = map(LOCAL_APIC, 4 * KIB, UNCACHED);
    let Some(version) = window.read_u32(0x30) else { panic!("offset 0x30 of {window:?}") };
    println!("local APIC version register: {version:#010x}");
    let is_apic = (0x10..=0x15).contains(&(version & 0xff)) && (3..=7).contains(&(version >> 16 & 0xff));
    let may_be_missing = features::local_apic().is_some_and(|apic| apic.x2apic);
    assert!(is_apic || may_be_missing && version == u32::MAX, "{version:#010x}");
    drop(window);
    let nothing = map(NO_DEVICE, 4 * KIB, UNCACHED);
    let Some(word) = nothing.read_u32(0) else { panic!("offset 0 of {nothing:?}") };
    println!("where no device is: {word:#010x}");
    assert!(
        nothing.write_u32(0, 0x5eed) && nothing.read_u32(0) == Some(word),
        "there is memory at {NO_DEVICE}"
    );
}

fn only_registers_of_the_window_are_reached() {
    // Registers from the middle of one page to the middle of the next.
    let window = map(PhysAddr::new(NO_DEVICE.as_u64() + 0xf00), 0x204, UNCACHED);
    assert_eq!((window.start().as_u64() % (4 * KIB), window.len_bytes()), (0xf00, 0x204));
    for offset in [0, 4, 0xfc, 0x100, 0x200] {
        assert!(window.read_u32(offset).is_some() && window.write_u32(offset, 0), "{offset:#x}");
    }
    for offset in [1, 2, 3, 0x201, 0x204, 0x1000, u64::MAX, u64::MAX - 3] {
        assert!(window.read_u32(offset).is_none() && !window.write_u32(offset, 0), "{offset:#x}");
    }
    assert_eq!(leaf(window.start()).map(|leaf| leaf.phys), Some(NO_DEVICE.as_u64()));
    let end = VirtAddr::new(window.start().as_u64() + 0x203);
    assert_eq!(leaf(end).map(|leaf| leaf.phys), Some(NO_DEVICE.as_u64() + 4 * KIB));
}

fn leaf(address: VirtAddr) -> Option<Leaf> {
    leaf_of(&leaves(), address.as_u64()).copied()
}

fn what_is_no_device_is_refused() {
    let free = machine().space().subtree::<Mmio>().free_bytes();
    let Some(ram) = ram::of_machine() else { panic!("no memory map") };
    for range in ram.all().ranges() {
        let (first, last) = (PhysAddr::new(range.start), PhysAddr::new(range.end - 1));
        for (start, len) in [(first, 1), (last, 1), (last, 8 * KIB), (first, range.end - range.start)] {
            let error = refusal(start, len);
            assert!(matches!(error, MmioError::Map(Error::IsRam { .. })), "{len:#x} at {start}: {error}");
        }
    }
    let bits = machine().paging().physical_address_bits;
    let end = 1 << bits;
    for (start, len) in [
        (NO_DEVICE, 0),
        (PhysAddr::new(end), 4 * KIB),
        (PhysAddr::new(end - 4 * KIB), 8 * KIB),
        (PhysAddr::new(end - 1), 2),
        (NO_DEVICE, u64::MAX),
        (NO_DEVICE, 1 << 62),
        (PhysAddr::new(u64::MAX), 1),
        (PhysAddr::new(u64::MAX - 4 * KIB + 1), 4 * KIB),
    ] {
        let error = refusal(start, len);
        let is_bad = matches!(error, MmioError::Map(Error::BadPhysicalRange { .. }));
        assert!(is_bad, "{len:#x} at {start} with {bits} bits: {error}");
    }
    drop(map(PhysAddr::new(end - 4 * KIB), 4 * KIB, UNCACHED));
    assert_eq!(machine().space().subtree::<Mmio>().free_bytes(), free, "addresses were lost");
}

fn guards_and_names_come_and_go() {
    for (len, guard) in
        [(4 * KIB, 4 * KIB), (12 * KIB, 4 * KIB), (2 * MIB, 2 * MIB), (2 * MIB + 4 * KIB, 4 * KIB)]
    {
        let window = map(NO_DEVICE, len, UNCACHED);
        let start = window.start().as_u64();
        let name = |address| regions::name_of(VirtAddr::new(address));
        for address in [start, start + len - 1] {
            assert_eq!(name(address), Some("device of the tests"), "{address:#x}");
            assert!(leaf(VirtAddr::new(address)).is_some_and(|leaf| leaf.writable && !leaf.executable));
        }
        for address in [start - guard, start - 1, start + len, start + len + guard - 1] {
            assert_eq!((name(address), leaf(VirtAddr::new(address)).is_none()), (None, true), "{address:#x}");
        }
        let report = audit();
        assert!(report.is_clean(), "{report}");
        drop(window);
        for address in [start, start + len - 1] {
            assert_eq!((name(address), leaf(VirtAddr::new(address)).is_none()), (None, true), "{address:#x}");
        }
    }
}

/// The bits of the leaf, as they are in the table (Intel SDM volume 3, 4.9.2).
fn cache_types_are_as_asked() {
    for (len, leaf_len, pat) in [(4 * KIB, 4 * KIB, PAT_OF_4KIB), (4 * MIB, 2 * MIB, PAT_OF_LARGE)] {
        for (cache, bits) in
            [(DeviceCache::Uncached, WRITE_THROUGH | CACHE_DISABLE), (DeviceCache::WriteCombining, pat)]
        {
            let window = map(NO_DEVICE, len, attributes(cache));
            for address in
                (window.start().as_u64()..).step_by(leaf_len as usize).take((len / leaf_len) as usize)
            {
                let Some(leaf) = leaf(VirtAddr::new(address)) else { panic!("{address:#x} is not mapped") };
                assert_eq!(leaf.len_bytes, leaf_len, "{leaf:x?}");
                let selected = leaf.entry & (WRITE_THROUGH | CACHE_DISABLE | pat);
                assert_eq!(selected, bits, "{cache:?}: {leaf:x?}");
            }
            assert!(window.read_u32(0).is_some());
        }
    }
}

/// Entry 3 of the PAT is UC, entry 4 is WC, and entry 0, by which all RAM is mapped, is WB.
fn the_pat_has_the_types_that_entries_select() {
    // SAFETY: the processor has this MSR, as the kernel has checked. At level 3 the host reads it on a trap.
    let pat = unsafe { rdmsr(IA32_PAT) };
    assert_eq!(pat, PAT_MSR_VALUE, "{pat:#018x}");
    assert_eq!([pat & 0xff, pat >> 24 & 0xff, pat >> 32 & 0xff], [6, 0, 1], "{pat:#018x}");
    let cached = |leaf: &Leaf| !(257..320).contains(&leaf.slot());
    let pat = |leaf: &Leaf| if leaf.len_bytes == 4 * KIB { PAT_OF_4KIB } else { PAT_OF_LARGE };
    let wrong = leaves().into_iter().filter(cached);
    let wrong = wrong.into_iter().find(|leaf| leaf.entry & (WRITE_THROUGH | CACHE_DISABLE | pat(leaf)) != 0);
    assert!(wrong.is_none(), "RAM is not write-back: {wrong:x?}");
}

fn a_thousand_windows_leave_nothing() {
    trim();
    let free = (free_frames(), machine().space().subtree::<Mmio>().free_bytes());
    let mut last = VirtAddr::new(0);
    for round in 0..1000 {
        let len = 1 + round % 7 * (2 * KIB);
        let window = map(NO_DEVICE, len, UNCACHED);
        last = window.start();
        assert_eq!(regions::name_of(last), Some("device of the tests"), "round {round}");
    }
    assert_eq!(end_of_walk(last.as_u64()).read() & PRESENT, 0);
    trim();
    assert_eq!((free_frames(), machine().space().subtree::<Mmio>().free_bytes()), free);
}

/// More at a time than there are names for: those without a name are windows all the same.
fn windows_close_in_any_order() {
    const COUNT: usize = 200;
    let device_leaves = || leaves().iter().filter(|leaf| (257..320).contains(&leaf.slot())).count();
    // That of the local APIC, on some machines.
    let before = device_leaves();
    let at = |index| PhysAddr::new(NO_DEVICE.as_u64() + index as u64 * 4 * KIB);
    let mut windows: Vec<Option<MmioWindow>> =
        (0..COUNT).map(|index| Some(map(at(index), 4 * KIB, UNCACHED))).collect();
    let mapped = leaves();
    for (index, window) in windows.iter().enumerate() {
        let start = window.as_ref().map_or(0, |window| window.start().as_u64());
        let phys = leaf_of(&mapped, start).map(|leaf| leaf.phys_of(start));
        assert_eq!(phys, Some(at(index).as_u64()), "window {index}");
    }
    // 200 and the step have no common factor, so every window is met once.
    for index in (0..COUNT).map(|n| n * 77 % COUNT) {
        assert!(windows[index].take().is_some());
    }
    assert_eq!(device_leaves(), before, "a window is mapped still");
}
