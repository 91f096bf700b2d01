//! A mixed address space, taken down to what there was at boot.

use super::fixture::*;
use crate::memory::address_space::{Inactive, NULL_GUARD_BYTES, Placed};
use crate::memory::frame::{Frame, FrameBatch, FrameSource};
use crate::memory::page_size::{Size2MiB, Size4KiB};
use crate::memory::page_table::attributes::{DataAccess, KernelAccess};
use crate::memory::page_table::{Detached, Flushed, Kva, Mmio, Tracked, VaRange, flush};
use crate::memory::simulation::{NoTlb, PVM, RING_0, SimulatedCpu};
use crate::memory::subtree::Subtree;
use alloc::vec::Vec;

type Cpu<'a> = SimulatedCpu<'a>;

/// Ranges of every kind, in several slots, across the edges of tables, with leaves of all sizes.
struct Mixed<'a> {
    heap: Vec<VaRange<Tracked, Cpu<'a>>>,
    devices: Vec<VaRange<Mmio, Cpu<'a>>>,
    kernel: Vec<VaRange<Kva, Cpu<'a>>>,
    stack: Frame<Size4KiB, Cpu<'a>>,
}

/// A range from `offset` bytes into a slot on.
fn range<O: Placed>(cpu: Cpu<'_>, number: u64, offset: u64, len_bytes: u64) -> VaRange<O, Cpu<'_>> {
    let whole = slot::<O, _>(cpu, number);
    let middle = part(&whole, offset, len_bytes);
    let carved = whole.carve(middle).unwrap();
    for rest in [carved.below, carved.above].into_iter().flatten() {
        Subtree::give_back(rest).unwrap();
    }
    carved.middle
}

fn mixed(cpu: Cpu<'_>) -> Mixed<'_> {
    let mut small = range::<Tracked>(cpu, 0, GIB - 3 * KIB4, 700 * KIB4);
    small.map(at(&small, 0), FrameBatch::<Size4KiB, _>::allocate(cpu, 700).unwrap(), HEAP).unwrap();
    let mut large = range::<Tracked>(cpu, 1, MIB2, 3 * MIB2);
    large.map(at(&large, MIB2), Frame::<Size2MiB, _>::allocate(cpu).unwrap(), HEAP).unwrap();
    large.map(at(&large, 2 * MIB2), run::<Size4KiB, _>(cpu, 2), DataAccess::ReadOnly).unwrap();
    let mut registers = range::<Mmio>(cpu, 3, 0, 2 * GIB + MIB2);
    registers.map(at(&registers, 0), device::<Size4KiB, _>(&cpu, 0, 513), UNCACHED).unwrap();
    registers.map(at(&registers, GIB - MIB2), device::<Size2MiB, _>(&cpu, 0, 2), WRITE_COMBINING).unwrap();
    let mut kernel = range::<Kva>(cpu, 2, 5 * KIB4, SLOT - 5 * KIB4);
    let stack = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
    let first = at(&kernel, SLOT - 6 * KIB4);
    kernel.map(first, window::<Size4KiB, _>(&cpu, stack.start(), 1), KernelAccess::ReadOnly).unwrap();
    let shown = leaves(&large)[0].2;
    let shown = window::<Size2MiB, _>(&cpu, crate::memory::address::PhysAddr::new(shown), 1);
    kernel.map(at(&kernel, MIB2 - 5 * KIB4), shown, KERNEL).unwrap();
    Mixed {
        heap: alloc::vec![small, large],
        devices: alloc::vec![registers],
        kernel: alloc::vec![kernel],
        stack,
    }
}

/// By what right something is freed.
trait Flusher {
    fn flush<'a, O: Placed>(&self, detached: Detached<O, Cpu<'a>>) -> Flushed<Detached<O, Cpu<'a>>>;
}

impl Flusher for Inactive {
    fn flush<'a, O: Placed>(&self, detached: Detached<O, Cpu<'a>>) -> Flushed<Detached<O, Cpu<'a>>> {
        match Inactive::flush(self, detached) {
            Ok(flushed) => flushed,
            Err(_) => panic!("the address space was never active"),
        }
    }
}

impl Flusher for NoTlb {
    fn flush<'a, O: Placed>(&self, detached: Detached<O, Cpu<'a>>) -> Flushed<Detached<O, Cpu<'a>>> {
        flush(detached, self)
    }
}

/// Takes ranges down, each in one of the two ways, and then the tables that they shared.
fn take_down<'a, O: Placed>(cpu: Cpu<'a>, ranges: Vec<VaRange<O, Cpu<'a>>>, by: &impl Flusher) {
    for (index, range) in ranges.into_iter().enumerate() {
        let detached = if index % 2 == 0 { range.detach() } else { range.unmap() };
        Subtree::give_back(by.flush(detached.unwrap()).release()).unwrap();
    }
    let mut free_ranges = Vec::new();
    while let Ok(free) = Subtree::<O>::reserve_longest(cpu) {
        free_ranges.push(by.flush(free.trim()).release());
    }
    for free in free_ranges {
        Subtree::give_back(free).unwrap();
    }
}

fn torn_down(cpu: Cpu<'_>, by: &impl Flusher) {
    let boot = state(cpu);
    let addresses = cpu_addresses(cpu);
    let Mixed { heap, devices, kernel, stack } = mixed(cpu);
    let full = state(cpu).audit;
    assert_eq!(full.frames.heap, 700 + 512 + 2);
    take_down(cpu, heap, by);
    take_down(cpu, kernel, by);
    take_down(cpu, devices, by);
    drop(stack);
    assert_eq!(state(cpu), boot);
    assert_eq!(cpu_addresses(cpu), addresses);
    assert_eq!(cpu.frames().statistics().double_frees, 0);
}

/// Free addresses of each kind.
fn cpu_addresses(cpu: Cpu<'_>) -> [u64; 3] {
    use crate::memory::page_table::Machine;
    let space = cpu.space();
    [
        space.subtree::<Tracked>().free_bytes(),
        space.subtree::<Mmio>().free_bytes(),
        space.subtree::<Kva>().free_bytes(),
    ]
}

#[test]
fn a_mixed_address_space_that_was_never_active_is_torn_down() {
    for paging in [RING_0, PVM] {
        with_frames(2048, paging, |cpu, inactive| torn_down(cpu, &inactive));
    }
}

#[test]
fn a_mixed_address_space_is_torn_down_by_shootdowns() {
    for paging in [RING_0, PVM] {
        with_frames(2048, paging, |cpu, _| {
            let tlb = NoTlb::default();
            torn_down(cpu, &tlb);
            assert!(tlb.requests() > 0);
        });
    }
}

#[cfg(not(miri))]
#[test]
fn leaves_of_1_gib_of_all_kinds_are_torn_down() {
    use crate::memory::page_size::Size1GiB;
    with_a_gib(RING_0, |cpu, inactive| {
        let boot = state(cpu);
        let mut heap = range::<Tracked>(cpu, 0, 5 * GIB, 2 * GIB);
        let frame = Frame::<Size1GiB, _>::allocate(cpu).unwrap();
        let start = frame.start();
        heap.map(at(&heap, GIB), frame, HEAP).unwrap();
        let mut kernel = range::<Kva>(cpu, 0, 5 * GIB, 2 * GIB);
        kernel.map(at(&kernel, 0), window::<Size1GiB, _>(&cpu, start, 1), KERNEL).unwrap();
        let mut devices = range::<Mmio>(cpu, 0, 5 * GIB, 9 * GIB);
        devices.map(at(&devices, 0), device::<Size1GiB, _>(&cpu, 0, 9), UNCACHED).unwrap();
        let full = state(cpu).audit;
        assert_eq!(full.kinds.map(|kind| kind.leaves[2]), [1, 9, 1]);
        take_down(cpu, alloc::vec![kernel], &inactive);
        take_down(cpu, alloc::vec![devices], &inactive);
        take_down(cpu, alloc::vec![heap], &inactive);
        assert_eq!(state(cpu), boot);
    });
}

#[test]
fn the_tables_of_the_lowest_kernel_addresses_go_back_although_they_reach_into_the_null_guard() {
    with_machine(|cpu| {
        let before = state(cpu);
        let mut kernel = Subtree::<Kva>::reserve(cpu, MIB2, KIB4).unwrap();
        assert_eq!(kernel.range().start.as_u64(), NULL_GUARD_BYTES);
        let shown = run::<Size4KiB, _>(cpu, 1);
        kernel.map(at(&kernel, 0), window::<Size4KiB, _>(&cpu, shown.start(), 1), KERNEL).unwrap();
        Subtree::give_back(release(kernel.unmap().unwrap())).unwrap();
        drop(shown);
        Subtree::<Kva>::trim(cpu, &NoTlb::default()).unwrap();
        assert_eq!(state(cpu), before);
    });
}
