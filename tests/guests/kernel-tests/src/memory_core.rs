//! The memory core, compiled for the guest, over simulated RAM: every operation with every kind and size.
//!
//! `just bench memory` measures the core's code in this guest's image.

#![expect(clippy::expect_used, reason = "a test that fails panics")]

use crate::Test;
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Once;
use unikernel::memory::address::{PhysAddr, VirtAddr};
use unikernel::memory::address_space::{AddressSpace, Placed};
use unikernel::memory::audit::{Dump, audit};
use unikernel::memory::frame::{FrameAllocator, FrameRun, FrameSource};
use unikernel::memory::page_size::{Size1GiB, Size2MiB, Size4KiB};
use unikernel::memory::page_table::attributes::{DataAccess, DeviceCache, KernelAccess, MmioAttributes};
use unikernel::memory::page_table::level::LeafSize;
use unikernel::memory::page_table::{
    Backing, Compound, Detached, FlushRequest, Kva, KvaRun, Machine, Mmio, MmioRun, Paging, Rejected,
    Shootdown, TableMemory, Tracked, VaRange, flush,
};
use unikernel::memory::simulation::{RING_0, SimulatedRam};
use unikernel::memory::subtree::Subtree;
use unikernel::println;

/// The one test whose memory never comes back: the simulated machine is static.
pub(crate) const KEEPS_MEMORY: &str = "memory_core::every_operation_with_every_kind_and_size";

pub(crate) const TESTS: &[Test] = &[(KEEPS_MEMORY, every_operation_with_every_kind_and_size)];

const GIB: u64 = 1 << 30;
/// Frames of 4 GiB, of which the first 1 MiB has memory, for the tables.
const FRAMES: usize = 4 << 18;
const WITH_MEMORY: usize = 256;
const DEVICES: PhysAddr = PhysAddr::new(1 << 40);

/// The handle of the one CPU, of no size, as in a kernel.
#[derive(Clone, Copy)]
struct Cpu;

static ALLOCATOR: Once<FrameAllocator<'static>> = Once::new();
static SPACE: Once<AddressSpace> = Once::new();
/// Where physical address 0 is.
static BASE: AtomicU64 = AtomicU64::new(0);

// SAFETY: 1, there is one allocator. 2, there is one CPU.
unsafe impl FrameSource for Cpu {
    #[inline]
    fn frames(&self) -> &FrameAllocator<'_> {
        // SAFETY: it was set before the first handle was used.
        unsafe { ALLOCATOR.get_unchecked() }
    }

    #[inline]
    fn cpu(&self) -> usize {
        0
    }
}

// SAFETY: 1, the frames with memory lie one after the other from the base on. 2, they are Rust's own atomics.
unsafe impl TableMemory for Cpu {
    type Cell = AtomicU64;

    #[inline]
    unsafe fn table(&self, frame: PhysAddr) -> &[AtomicU64; 512] {
        let address = BASE.load(Ordering::Relaxed) + frame.as_u64();
        // SAFETY: by the caller's promise it is a table, and the test gives out frames with memory only for those.
        unsafe { &*core::ptr::with_exposed_provenance(address as usize) }
    }

    #[inline]
    fn paging(&self) -> Paging {
        RING_0
    }
}

// SAFETY: the address space was made on the same memory.
unsafe impl Machine for Cpu {
    #[inline]
    fn space(&self) -> &AddressSpace {
        // SAFETY: it was set before the first handle was used as a machine.
        unsafe { SPACE.get_unchecked() }
    }
}

/// The processor does not walk these tables.
struct NoTlb;

// SAFETY: 1 to 3, CR3 never pointed at a table of this machine.
unsafe impl Shootdown<Cpu> for NoTlb {
    fn invalidate(&self, _: &FlushRequest) {}
}

fn boot() {
    let ram = Box::leak(Box::new(SimulatedRam::new(FRAMES, WITH_MEMORY, 1)));
    let (arrays, tables) = ram.parts();
    BASE.store(tables.as_ptr().expose_provenance() as u64, Ordering::Relaxed);
    ALLOCATOR.call_once(|| {
        // SAFETY: nobody else has the arrays, which are never given back.
        let frames = unsafe { FrameAllocator::new(arrays) }.expect("a frame allocator");
        // SAFETY: the memory is this test's, and what has none is nobody's.
        unsafe { frames.add(0, WITH_MEMORY as u64) }.expect("frames for tables");
        // SAFETY: as above.
        unsafe { frames.add(GIB / 4096, FRAMES as u64 - GIB / 4096) }.expect("frames without memory");
        frames
    });
    SPACE.call_once(|| AddressSpace::new(Cpu).expect("a root").0);
}

fn done<T, E>(result: Result<T, Rejected<E>>) -> T {
    result.unwrap_or_else(|rejected| panic!("{}", rejected.error))
}

fn released<O: Placed>(detached: Detached<O, Cpu>) -> VaRange<O, Cpu> {
    flush(detached, &NoTlb).release()
}

fn every_operation_with_every_kind_and_size() {
    boot();
    let cpu = Cpu;
    let before = cpu.frames().statistics().free;

    let read_only = DataAccess::ReadOnly;
    let registers = MmioAttributes { access: DataAccess::ReadWrite, cache: DeviceCache::WriteCombining };
    let fixed = MmioAttributes { access: read_only, ..registers };
    every_size::<Mmio>(cpu, registers, fixed, |cpu| {
        let run = MmioRun::<Size4KiB>::new(&cpu, DEVICES, 512).expect("4 KiB registers");
        let large = MmioRun::<Size2MiB>::new(&cpu, DEVICES, 512).expect("2 MiB registers");
        (run, large, MmioRun::<Size1GiB>::new(&cpu, DEVICES, 1).expect("1 GiB registers"))
    });
    let owned = FrameRun::<Size1GiB, _>::allocate(cpu, 1).expect("1 GiB");
    let start = owned.start();
    every_size::<Kva>(cpu, KernelAccess::ReadWrite, KernelAccess::ReadOnly, |cpu| {
        let run = KvaRun::<Size4KiB>::new(&cpu, start, 512).expect("4 KiB of RAM");
        let large = KvaRun::<Size2MiB>::new(&cpu, start, 512).expect("2 MiB of RAM");
        (run, large, KvaRun::<Size1GiB>::new(&cpu, start, 1).expect("1 GiB of RAM"))
    });
    drop(owned);
    every_size::<Tracked>(cpu, DataAccess::ReadWrite, read_only, |cpu| {
        let run = FrameRun::<Size4KiB, _>::allocate(cpu, 512).expect("4 KiB frames");
        let large = FrameRun::<Size2MiB, _>::allocate(cpu, 512).expect("2 MiB frames");
        (run, large, FrameRun::<Size1GiB, _>::allocate(cpu, 1).expect("1 GiB frames"))
    });

    let report = audit(cpu);
    println!("{}\n{report}", Dump::new(cpu));
    assert!(report.is_clean());
    assert_eq!(cpu.frames().statistics().free, before, "something was lost");
}

/// Maps, changes and takes out leaves of all sizes in one subtree, and leaves it without tables.
fn every_size<O: Placed>(
    cpu: Cpu,
    attributes: O::Attributes,
    fewer: O::Attributes,
    supply: impl Fn(Cpu) -> (O::Run<Size4KiB, Cpu>, O::Run<Size2MiB, Cpu>, O::Run<Size1GiB, Cpu>),
) where
    O::Run<Size4KiB, Cpu>: Backing<O, Size4KiB, Cpu>,
    O::Run<Size2MiB, Cpu>: Backing<O, Size2MiB, Cpu>,
    O::Run<Size1GiB, Cpu>: Backing<O, Size1GiB, Cpu>,
{
    let (small, _, _) = supply(cpu);
    let range = Subtree::<O>::reserve(cpu, 2 * GIB, GIB).expect("addresses");
    let range = there_and_back::<O, Size4KiB, _>(range, small, attributes, fewer);
    let (_, middle, _) = supply(cpu);
    let range = there_and_back::<O, Size2MiB, _>(range, middle, attributes, fewer);
    let (_, _, large) = supply(cpu);
    let mut range = there_and_back::<O, Size1GiB, _>(range, large, attributes, fewer);

    let start = range.range().start;
    let (_, _, large) = supply(cpu);
    done(range.map::<Size1GiB, _>(start, large, attributes));
    range = released(done(range.split::<Size1GiB>(start)));
    range = reshaped::<O, Size2MiB>(range, start);
    range = released(done(range.promote::<Size1GiB>(start)));
    assert_eq!(range.leaves().count(), 1);
    range = released(done(range.detach()));
    assert_eq!(range.leaves().count(), 0);
    done(Subtree::give_back(released(range.trim())));
    done(Subtree::<O>::trim(cpu, &NoTlb));
}

/// Splits the leaf at `start`, and makes one of its parts again.
fn reshaped<O: Placed, S: Compound>(range: VaRange<O, Cpu>, start: VirtAddr) -> VaRange<O, Cpu> {
    let leaves = range.leaves().count();
    let range = released(done(range.split::<S>(start)));
    assert_eq!(range.leaves().count(), leaves + 511);
    let range = released(done(range.promote::<S>(start)));
    assert_eq!(range.leaves().count(), leaves);
    range
}

/// Maps `backing`, lessens what it allows, and takes it out again.
fn there_and_back<O: Placed, S: LeafSize, B: Backing<O, S, Cpu>>(
    mut range: VaRange<O, Cpu>,
    backing: B,
    attributes: O::Attributes,
    fewer: O::Attributes,
) -> VaRange<O, Cpu> {
    let start = range.range().start;
    let leaves = backing.count() as usize;
    done(range.map::<S, B>(start, backing, attributes));
    assert_eq!(range.leaves().count(), leaves);
    let again = range.query(start).expect("a leaf");
    assert_eq!((again.range.len_bytes, again.attributes), (S::LEN_BYTES, attributes));
    let range = released(done(range.protect(fewer)));
    assert!(range.leaves().all(|leaf| leaf.attributes == fewer));
    let range = released(done(range.unmap()));
    assert_eq!(range.leaves().count(), 0);
    // The tables that were kept would be in the way of larger leaves.
    released(range.trim())
}
