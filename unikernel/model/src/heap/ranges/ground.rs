//! A simulated machine with a region whose pages come on demand.

use super::operation::RangeMachine;
use crate::heap::memory::Memory;
use unikernel::memory::PAGE_LEN;
use unikernel::memory::atomic::{AtomicU8, AtomicU64};
use unikernel::memory::frame::FrameSource;
use unikernel::memory::heap::demand::{BLOCK_LEN, DemandRanges, PageMap, Pager};
use unikernel::memory::page_table::Tracked;
use unikernel::memory::simulation::{NoTlb, PVM, RING_0, SimulatedCpu, SimulatedRam, Simulation};
use unikernel::memory::subtree::Subtree;

/// What the region is aligned to: no alignment of a range is greater.
const REGION_ALIGN: u64 = 4 * BLOCK_LEN;

/// The machine, its region, and the source of ranges in it.
pub(super) struct Ground<'a, 'p> {
    pub(super) cpu: SimulatedCpu<'a>,
    pub(super) pager: &'p Pager<'a, SimulatedCpu<'a>>,
    pub(super) source: DemandRanges<'p, SimulatedCpu<'a>, NoTlb>,
    /// Where the source has its addresses: memory of the host, of which only the notes are touched. The pager has the same
    /// bytes, from the start of its region on.
    pub(super) base: usize,
    pub(super) len_bytes: usize,
    /// What the source may keep at most.
    pub(super) kept_max: u64,
}

pub(super) fn with_ground(machine: RangeMachine, test: impl FnOnce(Ground<'_, '_>)) {
    let RangeMachine { frames, blocks, pvm, .. } = machine;
    let mut ram = SimulatedRam::new(frames, frames, 1);
    let all = 0..frames as u64;
    let simulation = match Simulation::new(&mut ram, if pvm { PVM } else { RING_0 }, &[all]) {
        Ok(simulation) => simulation,
        Err(error) => panic!("{error}"),
    };
    let cpu = match simulation.boot() {
        Ok((cpu, _)) => cpu,
        Err(error) => panic!("{error}"),
    };
    let words: Vec<_> = (0..PageMap::words_for(blocks)).map(|_| AtomicU64::new(0)).collect();
    let bytes: Vec<_> = (0..blocks).map(|_| AtomicU8::new(0)).collect();
    let len_bytes = blocks as u64 * BLOCK_LEN;
    let range = match Subtree::<Tracked>::reserve(cpu, len_bytes, REGION_ALIGN) {
        Ok(range) => range,
        Err(error) => panic!("{error}"),
    };
    let around_bytes = if pvm { 64 << 10 } else { 16 << 10 };
    let pager = match Pager::new(cpu, range, PageMap::new(&words, &bytes), around_bytes) {
        Ok(pager) => pager,
        Err(rejected) => panic!("{}", rejected.error),
    };
    let memory = Memory::new(len_bytes as usize, REGION_ALIGN as usize);
    // SAFETY: 1, no other source is made of this pager. 2, the memory of the host is there, whatever is mapped.
    let source = match unsafe { DemandRanges::new(&pager, memory.start(), NoTlb::default()) } {
        Ok(source) => source,
        Err(error) => panic!("{error}"),
    };
    let statistics = cpu.frames().statistics();
    test(Ground {
        cpu,
        pager: &pager,
        source,
        base: memory.start().addr(),
        len_bytes: len_bytes as usize,
        kept_max: (statistics.free - statistics.promised) * PAGE_LEN / 32,
    });
}

impl Ground<'_, '_> {
    /// Frames that anyone can have.
    pub(super) fn free_frames(&self) -> u64 {
        let statistics = self.cpu.frames().statistics();
        statistics.free - statistics.promised
    }
}
