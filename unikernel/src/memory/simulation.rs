//! A machine of host memory, on which the memory core is tried out: tests, fuzzing, benches.
//!
//! Physical address 0 is the start of an array. Frames and tables behave as in a guest; no processor walks them.

use super::PAGE_LEN;
use super::address::PhysAddr;
use super::address_space::{AddressSpace, Inactive};
use super::atomic::{AtomicU8, AtomicU16, AtomicU64};
use super::frame::{
    CpuFrames, FrameAllocator, FrameArrayLengths, FrameArrays, FrameArraysError, FrameSource, OutOfFrames,
    RegisterError,
};
use super::heap::demand::ClearFrames;
use super::page_table::level::ENTRIES;
use super::page_table::{FlushRequest, Machine, Paging, Shootdown, TableMemory};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, Ordering};
use spin::Once;

/// What ordinary KVM and QEMU take.
pub const RING_0: Paging =
    Paging { user: false, one_gib_leaves: true, physical_address_bits: 46, root_in_odd_frame: false };
/// What KVM_PVM takes.
pub const PVM: Paging =
    Paging { user: true, one_gib_leaves: false, physical_address_bits: 46, root_in_odd_frame: true };

/// The arrays of a machine, for [`Simulation::new`].
pub struct SimulatedRam {
    bitmap: Vec<AtomicU64>,
    areas: Vec<AtomicU16>,
    hints: [Vec<AtomicU64>; 2],
    states: Vec<AtomicU8>,
    words: Vec<AtomicU64>,
    marks: Vec<AtomicU8>,
    cpus: Vec<CpuFrames>,
    cells: Box<[[AtomicU64; ENTRIES]]>,
}

impl SimulatedRam {
    /// Arrays for `frames` frames of 4 KiB and this many CPUs. The first `with_memory` frames have memory, so that they can
    /// hold tables.
    #[must_use]
    pub fn new(frames: usize, with_memory: usize, cpus: usize) -> Self {
        fn fill<T: Default>(len: usize) -> Vec<T> {
            core::iter::repeat_with(T::default).take(len).collect()
        }
        let lengths = FrameArrayLengths::new(frames, cpus);
        Self {
            bitmap: fill(lengths.bitmap),
            areas: fill(lengths.areas),
            hints: [fill(lengths.hints), fill(lengths.hints)],
            states: fill(lengths.frames),
            words: fill(lengths.frames),
            marks: fill(lengths.frames),
            cpus: fill(lengths.cpus),
            cells: zeroed(with_memory),
        }
    }

    /// The arrays of the frame allocator, and the memory of the first frames, for a machine of one's own.
    #[must_use]
    pub fn parts(&mut self) -> (FrameArrays<'_>, &[[AtomicU64; ENTRIES]]) {
        let arrays = FrameArrays {
            bitmap: &self.bitmap,
            areas: &self.areas,
            nonempty: &self.hints[0],
            whole: &self.hints[1],
            states: &self.states,
            words: &self.words,
            marks: &self.marks,
            cpus: &self.cpus,
        };
        (arrays, &self.cells)
    }
}

/// Memory that the host need not touch before it is used.
fn zeroed(tables: usize) -> Box<[[AtomicU64; ENTRIES]]> {
    let cells = Box::<[[AtomicU64; ENTRIES]]>::new_zeroed_slice(tables);
    // SAFETY: arrays of atomics that are all zeros are ones.
    unsafe { cells.assume_init() }
}

/// Why there is no such machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimulationError {
    /// The arrays do not fit.
    Arrays(FrameArraysError),
    /// RAM can't be where it was said to be.
    Registration(RegisterError),
    /// There is no frame for the root table.
    OutOfFrames(OutOfFrames),
    /// Its first CPU was taken before.
    Booted,
}

impl fmt::Display for SimulationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arrays(cause) => write!(formatter, "the simulated machine: {cause}"),
            Self::Registration(cause) => write!(formatter, "the RAM of the simulated machine: {cause}"),
            Self::OutOfFrames(cause) => write!(formatter, "the root table of the simulated machine: {cause}"),
            Self::Booted => formatter.write_str("the simulated machine was booted before"),
        }
    }
}

impl core::error::Error for SimulationError {}

/// A machine with an address space of its own.
pub struct Simulation<'a> {
    frames: FrameAllocator<'a>,
    cells: &'a [[AtomicU64; ENTRIES]],
    paging: Paging,
    space: Once<AddressSpace>,
    taken: [AtomicBool; CPUS_MAX],
}

/// The most CPUs that a simulation can have.
pub const CPUS_MAX: usize = 8;

/// One CPU of a [`Simulation`]: its handle, which stays with the thread that took it.
#[derive(Clone, Copy)]
pub struct SimulatedCpu<'a> {
    machine: &'a Simulation<'a>,
    index: usize,
    one_thread: PhantomData<*mut ()>,
}

impl<'a> Simulation<'a> {
    /// A machine of this memory, in which `free` (numbers of frames) is RAM that nobody has.
    ///
    /// # Errors
    /// [`SimulationError`].
    pub fn new(
        ram: &'a mut SimulatedRam,
        paging: Paging,
        free: &[core::ops::Range<u64>],
    ) -> Result<Self, SimulationError> {
        let (arrays, cells) = ram.parts();
        // SAFETY: the arrays are borrowed for this machine alone, which makes one allocator of them.
        let frames = unsafe { FrameAllocator::new(arrays) }.map_err(SimulationError::Arrays)?;
        for range in free {
            // SAFETY: nobody but this machine has the memory, no other frames are mapped yet, and those without memory are
            // nobody's.
            unsafe { frames.add(range.start, range.end - range.start) }
                .map_err(SimulationError::Registration)?;
        }
        let taken = [const { AtomicBool::new(false) }; CPUS_MAX];
        Ok(Self { frames, cells, paging, space: Once::new(), taken })
    }

    /// Makes the address space, by CPU 0.
    ///
    /// # Errors
    /// [`SimulationError::OutOfFrames`], [`SimulationError::Booted`].
    pub fn boot(&'a self) -> Result<(SimulatedCpu<'a>, Inactive), SimulationError> {
        let cpu = self.cpu(0).ok_or(SimulationError::Booted)?;
        let (space, inactive) = AddressSpace::new(cpu).map_err(SimulationError::OutOfFrames)?;
        self.space.call_once(|| space);
        Ok((cpu, inactive))
    }

    /// The CPU with this index, if there is one, and it was not taken before.
    pub fn cpu(&'a self, index: usize) -> Option<SimulatedCpu<'a>> {
        let exists = index < self.frames.cpus();
        let taken = self.taken.get(index)?;
        (exists && !taken.swap(true, Ordering::Relaxed)).then_some(SimulatedCpu {
            machine: self,
            index,
            one_thread: PhantomData,
        })
    }

    /// The frame allocator.
    #[must_use]
    pub fn frames(&self) -> &FrameAllocator<'a> {
        &self.frames
    }
}

// SAFETY: 1, a copy has the same reference. 2, `Simulation::cpu` and `boot` give each index out once, and the handle and its
// copies stay with one thread, since they are not `Send`.
unsafe impl FrameSource for SimulatedCpu<'_> {
    #[inline]
    fn frames(&self) -> &FrameAllocator<'_> {
        &self.machine.frames
    }

    #[inline]
    fn cpu(&self) -> usize {
        self.index
    }
}

// SAFETY: 1, frames have their cells by number, one after the other. 2, they are Rust's own atomics.
unsafe impl TableMemory for SimulatedCpu<'_> {
    type Cell = AtomicU64;

    #[inline]
    unsafe fn table(&self, frame: PhysAddr) -> &[AtomicU64; ENTRIES] {
        let number = frame.frame_number() as usize;
        assert!(number < self.machine.cells.len(), "frame {frame} of the simulated machine has no memory");
        &self.machine.cells[number]
    }

    #[inline]
    fn paging(&self) -> Paging {
        self.machine.paging
    }
}

// SAFETY: the address space is made once, by `boot`, on this machine.
unsafe impl Machine for SimulatedCpu<'_> {
    #[inline]
    fn space(&self) -> &AddressSpace {
        match self.machine.space.get() {
            Some(space) => space,
            None => unreachable!("the simulated machine was not booted"),
        }
    }
}

// SAFETY: frames have their cells by number, which are all their memory; a frame without memory shows nothing.
unsafe impl ClearFrames for SimulatedCpu<'_> {
    unsafe fn clear(&self, start: PhysAddr, len_bytes: u64) {
        let first = start.frame_number() as usize;
        let frames = first..first + (len_bytes / PAGE_LEN) as usize;
        let cells = self.machine.cells.get(frames).unwrap_or(&[]);
        // SAFETY: atomics may be written through a shared reference, and by the caller's promise nobody else reads or writes
        // these. Cell by cell, 2 MiB would take Miri a minute.
        unsafe { cells.as_ptr().cast_mut().write_bytes(0, cells.len()) };
    }
}

/// A shootdown for a machine that no processor walks. It keeps what was asked for.
#[derive(Default)]
pub struct NoTlb {
    requests: Cell<u64>,
}

impl NoTlb {
    /// How often something had to be flushed.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }
}

// SAFETY: 1 to 3, no processor ever loaded a simulated table, so none has a translation.
unsafe impl Shootdown<SimulatedCpu<'_>> for NoTlb {
    fn invalidate(&self, _: &FlushRequest) {
        self.requests.set(self.requests.get() + 1);
    }
}
