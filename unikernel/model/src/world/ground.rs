//! The simulated machine.

use super::Cpu;
use crate::sequence::Machine;
use crate::size::Size;
use core::ops::Range;
use unikernel::memory::PAGE_LEN;
use unikernel::memory::address_space::Inactive;
use unikernel::memory::frame::{Frame, FrameBatch, FrameSource};
use unikernel::memory::page_size::{Size2MiB, Size4KiB};
use unikernel::memory::simulation::{PVM, RING_0, SimulatedRam, Simulation};

/// Frames at the bottom of each machine: room for a few large leaves and many small ones.
const LOW_FRAMES: u64 = if cfg!(miri) { 2048 } else { 3072 };

/// The machine, and what the world has of it beside ranges.
pub(crate) struct Ground<'a> {
    pub(crate) cpu: Cpu<'a>,
    pub(crate) inactive: Inactive,
    /// The machine's RAM, in bytes.
    pub(crate) ram: Vec<Range<u64>>,
    /// The RAM that is never mapped writable, so that it may be executable: 2 MiB.
    pub(crate) text: Range<u64>,
    /// Frames that were taken out of what was unmapped.
    pub(crate) taken: Vec<Frame<Size4KiB, Cpu<'a>>>,
    /// Whether looking at all frames takes so long that it is done less often.
    pub(crate) large: bool,
}

pub(super) fn with_ground<R>(machine: Machine, test: impl FnOnce(Ground<'_>) -> R) -> R {
    let gib = Size::Huge.frames();
    let high = machine.huge_frames.then_some(gib..2 * gib);
    let ram: Vec<Range<u64>> = core::iter::once(0..LOW_FRAMES).chain(high).collect();
    let frames = ram.iter().map(|range| range.end).max().unwrap_or(0) as usize;
    // Memory for every frame, since any may become a table. What never does costs nothing.
    let mut memory = SimulatedRam::new(frames, frames, 1);
    let paging = if machine.pvm { PVM } else { RING_0 };
    let simulation = match Simulation::new(&mut memory, paging, &ram) {
        Ok(simulation) => simulation,
        Err(error) => panic!("{error}"),
    };
    let (cpu, inactive) = match simulation.boot() {
        Ok(booted) => booted,
        Err(error) => panic!("{error}"),
    };
    let text = match Frame::<Size2MiB, _>::allocate(cpu) {
        Ok(frame) => frame.leak().as_u64(),
        Err(error) => panic!("{error}"),
    };
    test(Ground {
        cpu,
        inactive,
        ram: ram.iter().map(|range| range.start * PAGE_LEN..range.end * PAGE_LEN).collect(),
        text: text..text + Size::Large.len_bytes(),
        taken: Vec::new(),
        large: machine.huge_frames,
    })
}

/// Does something while all but `spare` frames are held by somebody else, and tells it how many are free.
pub(crate) fn squeezed<R>(cpu: Cpu<'_>, spare: Option<u64>, act: impl FnOnce(u64) -> R) -> R {
    let free = cpu.frames().statistics().free;
    let left = spare.unwrap_or(free).min(free);
    match FrameBatch::<Size4KiB, _>::allocate(cpu, free - left) {
        Ok(_held) => act(left),
        Err(error) => panic!("{free} frames are free, but not {} can be had: {error}", free - left),
    }
}

impl Ground<'_> {
    pub(crate) fn free(&self) -> u64 {
        self.cpu.frames().statistics().free
    }

    /// Whether all of the physical range is RAM, and whether any is.
    pub(crate) fn ram_in(&self, start: u64, len_bytes: u64) -> (bool, bool) {
        let end = start + len_bytes;
        let all = self.ram.iter().any(|ram| ram.start <= start && end <= ram.end);
        let any = self.ram.iter().any(|ram| ram.start < end && start < ram.end);
        (all, any)
    }
}
