//! A machine of a few MiB, and short names for what tests do with it.

use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::address_space::{Inactive, Placed, SLOT_MAP};
use crate::memory::atomic::Ordering;
use crate::memory::audit::{AuditReport, Dump, audit};
use crate::memory::frame::{FrameRun, FrameSource};
use crate::memory::page_table::attributes::{DataAccess, DeviceCache, KernelAccess, MmioAttributes};
use crate::memory::page_table::entry::Entry;
use crate::memory::page_table::level::LeafSize;
use crate::memory::page_table::span::canonical;
use crate::memory::page_table::{
    Cursor, Detached, EntryCell, Error, KvaRun, Machine, MmioRun, Ownership, Paging, Rejected, Released,
    VaRange, VirtRange,
};
use crate::memory::simulation::{NoTlb, RING_0, SimulatedCpu, SimulatedRam, Simulation};
use crate::memory::subtree::Subtree;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

/// What device registers are mapped as.
pub(crate) const UNCACHED: MmioAttributes =
    MmioAttributes { access: DataAccess::ReadWrite, cache: DeviceCache::Uncached };
/// The same for a frame buffer.
pub(crate) const WRITE_COMBINING: MmioAttributes =
    MmioAttributes { access: DataAccess::ReadWrite, cache: DeviceCache::WriteCombining };
/// Where device registers are, above all RAM.
pub(crate) const DEVICE: u64 = 1 << 40;
pub(crate) const KIB4: u64 = 4 << 10;
pub(crate) const MIB2: u64 = 2 << 20;
pub(crate) const GIB: u64 = 1 << 30;
/// What a root slot translates.
pub(crate) const SLOT: u64 = 512 * GIB;

/// Runs `test` on a machine whose RAM is these frames (the first of each block, and the one behind its last), of which the
/// first `with_memory` can be tables.
pub(crate) fn with_ram(
    ram: &[(u64, u64)],
    with_memory: usize,
    paging: Paging,
    test: impl FnOnce(SimulatedCpu<'_>, Inactive),
) {
    let ram: Vec<Range<u64>> = ram.iter().map(|(first, end)| *first..*end).collect();
    let frames = ram.iter().map(|range| range.end).max().unwrap();
    let mut memory = SimulatedRam::new(frames as usize, with_memory, 2);
    let machine = Simulation::new(&mut memory, paging, &ram).unwrap();
    let (cpu, inactive) = machine.boot().unwrap();
    test(cpu, inactive);
}

/// Runs `test` on a machine with this many frames. All can be tables, but under Miri, to which memory is dear, only those that
/// are handed out first.
pub(crate) fn with_frames(frames: usize, paging: Paging, test: impl FnOnce(SimulatedCpu<'_>, Inactive)) {
    let with_memory = if cfg!(miri) { frames.min(512) } else { frames };
    with_ram(&[(0, frames as u64)], with_memory, paging, test);
}

/// Runs `test` on a machine with 4 MiB of RAM for tables and small pages, and a whole aligned GiB without memory. Too slow
/// for Miri.
#[cfg(not(miri))]
pub(crate) fn with_a_gib(paging: Paging, test: impl FnOnce(SimulatedCpu<'_>, Inactive)) {
    let frames_of_gib = GIB / KIB4;
    with_ram(&[(0, 1024), (frames_of_gib, 2 * frames_of_gib)], 1024, paging, test);
}

/// Runs `test` on a machine with 256 KiB of RAM: enough for tables and a few pages, and quick under Miri.
pub(crate) fn with_small_machine(test: impl FnOnce(SimulatedCpu<'_>)) {
    with_frames(64, RING_0, |cpu, _| test(cpu));
}

/// Runs `test` on a machine with 8 MiB of RAM.
pub(crate) fn with_machine(test: impl FnOnce(SimulatedCpu<'_>)) {
    with_frames(2048, RING_0, |cpu, _| test(cpu));
}

/// A range of kind `O`, aligned to 1 GiB.
pub(crate) fn reserve<O: Placed, M: Machine>(machine: M, len_bytes: u64) -> VaRange<O, M> {
    Subtree::<O>::reserve(machine, len_bytes, GIB).unwrap()
}

/// A whole root slot of kind `O`: the tables in it can all go away again.
pub(crate) fn slot<O: Placed, M: Machine>(machine: M, number: u64) -> VaRange<O, M> {
    let first = SLOT_MAP.iter().rfind(|slots| slots.kind == O::KIND).unwrap().first as u64;
    let range = VirtRange::new(canonical((first + number) * SLOT), SLOT);
    Subtree::<O>::reserve_at(machine, range).unwrap()
}

/// The address `offset` bytes into a range.
pub(crate) fn at<O: Ownership, M: Machine>(range: &VaRange<O, M>, offset: u64) -> VirtAddr {
    VirtAddr::new(range.range().start.as_u64() + offset)
}

/// `len_bytes` bytes, `offset` bytes into a range.
pub(crate) fn part<O: Ownership, M: Machine>(
    range: &VaRange<O, M>,
    offset: u64,
    len_bytes: u64,
) -> VirtRange {
    VirtRange::new(at(range, offset), len_bytes)
}

/// `len_bytes` bytes, `offset` bytes into the range of a cursor.
pub(crate) fn inside<O: Ownership, M: Machine>(
    cursor: &Cursor<O, M>,
    offset: u64,
    len_bytes: u64,
) -> VirtRange {
    VirtRange::new(VirtAddr::new(cursor.range().start.as_u64() + offset), len_bytes)
}

/// Frees what was taken out.
pub(crate) fn release<'a, O: Ownership>(
    detached: Detached<O, SimulatedCpu<'a>>,
) -> VaRange<O, SimulatedCpu<'a>> {
    crate::memory::page_table::flush(detached, &NoTlb::default()).release()
}

/// The same, with what was freed.
pub(crate) fn release_counted<'a, O: Ownership>(
    detached: Detached<O, SimulatedCpu<'a>>,
) -> (VaRange<O, SimulatedCpu<'a>>, Released) {
    crate::memory::page_table::flush(detached, &NoTlb::default()).release_counted()
}

/// Device registers from `offset` bytes above [`DEVICE`] on.
pub(crate) fn device<S: LeafSize, M: Machine>(machine: &M, offset: u64, count: u64) -> MmioRun<S> {
    MmioRun::new(machine, PhysAddr::new(DEVICE + offset), count).unwrap()
}

/// A window onto these frames.
pub(crate) fn window<S: LeafSize, M: Machine>(machine: &M, start: PhysAddr, count: u64) -> KvaRun<S> {
    KvaRun::new(machine, start, count).unwrap()
}

/// Frames side by side.
pub(crate) fn run<S: LeafSize, M: FrameSource>(machine: M, count: u64) -> FrameRun<S, M> {
    FrameRun::allocate(machine, count).unwrap()
}

pub(crate) fn free<M: FrameSource>(machine: M) -> u64 {
    machine.frames().statistics().free
}

pub(crate) const HEAP: DataAccess = DataAccess::ReadWrite;
pub(crate) const KERNEL: KernelAccess = KernelAccess::ReadWrite;

/// All that a refused operation must leave as it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) audit: AuditReport,
    mappings: String,
    free: u64,
}

/// The state of a machine, in which nothing may be wrong.
pub(crate) fn state<M: Machine>(machine: M) -> State {
    let audit = audit(machine);
    assert!(audit.is_clean(), "{audit}");
    State { audit, mappings: Dump::new(machine).to_string(), free: free(machine) }
}

/// What was refused, and why.
pub(crate) fn refused<T, I>(result: Result<T, Rejected<I>>) -> (Error, I) {
    match result {
        Ok(_) => panic!("the operation was not refused"),
        Err(Rejected { error, input }) => (error, input),
    }
}

/// Each leaf of a range: its offset, its length, and its physical address.
pub(crate) fn leaves<O: Ownership, M: Machine>(range: &VaRange<O, M>) -> Vec<(u64, u64, u64)> {
    let start = range.range().start.as_u64();
    let leaf = |mapping: crate::memory::page_table::Mapping<O>| {
        let VirtRange { start: at, len_bytes } = mapping.range;
        (at.as_u64() - start, len_bytes, mapping.phys.as_u64())
    };
    range.leaves().map(leaf).collect()
}

/// The bits of the entry at this level that translates `address`, live or not.
pub(crate) fn raw_entry<M: Machine>(machine: M, address: VirtAddr, level: u32) -> u64 {
    let mut table = machine.space().root();
    for above in (level..=4).rev() {
        let index = (address.as_u64() >> (3 + 9 * above)) as usize % 512;
        // SAFETY: the tables of a test machine, whose entries lead to tables down to this level.
        let bits = unsafe { machine.table(table) }[index].load(Ordering::Relaxed);
        if above == level {
            return bits;
        }
        table = Entry::from_bits(bits).table();
    }
    unreachable!("levels are 1 to 4")
}
