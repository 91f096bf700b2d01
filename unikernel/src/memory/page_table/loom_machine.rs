//! A tiny machine for the model checker, whose atomics it has in tables and in all notes on frames.

use super::machine::{EntryCell, Paging};
use super::{FlushRequest, Machine, Shootdown, TableMemory};
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::address_space::AddressSpace;
use crate::memory::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering};
use crate::memory::frame::{CpuFrames, FrameAllocator, FrameArrayLengths, FrameArrays, FrameSource};
use crate::memory::page_table::level::ENTRIES;
use alloc::boxed::Box;
use alloc::vec::Vec;
use loom::cell::UnsafeCell;
use loom::sync::Arc;

pub(crate) const FRAMES: usize = 16;
pub(crate) const CPUS: usize = 2;
/// Where heap pages of models lie: in the first entries of all tables.
pub(crate) const HEAP: VirtAddr = VirtAddr::new(1 << 39);

/// Entries that models use are checked; the others are plain, since thousands of checked ones are too many.
pub(crate) enum ModelCell {
    Checked(AtomicU64),
    Plain(core::sync::atomic::AtomicU64),
}

impl EntryCell for ModelCell {
    fn load(&self, ordering: Ordering) -> u64 {
        match self {
            Self::Checked(cell) => cell.load(ordering),
            Self::Plain(cell) => cell.load(Ordering::Relaxed),
        }
    }

    fn store(&self, value: u64, ordering: Ordering) {
        match self {
            Self::Checked(cell) => cell.store(value, ordering),
            Self::Plain(cell) => cell.store(value, Ordering::Relaxed),
        }
    }

    fn compare_exchange(&self, current: u64, new: u64) -> Result<u64, u64> {
        match self {
            Self::Checked(cell) => cell.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire),
            Self::Plain(_) => unreachable!("the models' shared entries are checked"),
        }
    }
}

pub(crate) struct Model {
    pub(crate) frames: FrameAllocator<'static>,
    pub(crate) tables: Vec<Vec<ModelCell>>,
    /// What is in each frame, to its owner.
    pub(crate) contents: Vec<UnsafeCell<u64>>,
    pub(crate) space: Option<AddressSpace>,
}

/// A CPU of the model. Whoever uses it keeps the model alive.
#[derive(Clone, Copy)]
pub(crate) struct Cpu(pub(crate) *const Model, pub(crate) usize);

// SAFETY: the model is `Sync` by its parts, and outlives all handles.
unsafe impl Send for Cpu {}

impl Cpu {
    pub(crate) fn model(&self) -> &Model {
        // SAFETY: whoever uses a CPU keeps the model alive.
        unsafe { &*self.0 }
    }
}

// SAFETY: 1, a copy has the same pointer. 2, each model uses one index a thread.
unsafe impl FrameSource for Cpu {
    fn frames(&self) -> &FrameAllocator<'_> {
        &self.model().frames
    }

    fn cpu(&self) -> usize {
        self.1
    }
}

// SAFETY: 1 and 2, each frame has its cells, which are atomics.
unsafe impl TableMemory for Cpu {
    type Cell = ModelCell;

    unsafe fn table(&self, frame: PhysAddr) -> &[ModelCell; ENTRIES] {
        self.model().tables[frame.frame_number() as usize].first_chunk().unwrap()
    }

    fn paging(&self) -> Paging {
        Paging { user: false, one_gib_leaves: true, physical_address_bits: 46, root_in_odd_frame: false }
    }
}

// SAFETY: the address space is made once, before any thread starts.
unsafe impl Machine for Cpu {
    fn space(&self) -> &AddressSpace {
        self.model().space.as_ref().unwrap()
    }
}

pub(crate) fn leak<T>(len: usize, new: impl Fn() -> T) -> &'static [T] {
    Box::leak((0..len).map(|_| new()).collect::<Vec<_>>().into_boxed_slice())
}

impl Model {
    pub(crate) fn new() -> Arc<Self> {
        let lengths = FrameArrayLengths::new(FRAMES, CPUS);
        let word = || AtomicU64::new(0);
        let byte = || AtomicU8::new(0);
        let arrays = FrameArrays {
            bitmap: leak(lengths.bitmap, word),
            areas: leak(lengths.areas, || AtomicU16::new(0)),
            nonempty: leak(lengths.hints, word),
            whole: leak(lengths.hints, word),
            states: leak(lengths.frames, byte),
            words: leak(lengths.frames, word),
            marks: leak(lengths.frames, byte),
            cpus: leak(lengths.cpus, CpuFrames::new),
        };
        // SAFETY: nobody else has the arrays.
        let frames = unsafe { FrameAllocator::new(arrays) }.unwrap();
        // SAFETY: the frames are this model's.
        unsafe { frames.add(0, FRAMES as u64) }.unwrap();
        let is_used = |index: usize| index < 3 || index == 257;
        let cell = |index| {
            if is_used(index) {
                ModelCell::Checked(AtomicU64::new(0))
            } else {
                ModelCell::Plain(core::sync::atomic::AtomicU64::new(0))
            }
        };
        let table = |_| (0..ENTRIES).map(cell).collect::<Vec<_>>();
        let tables = (0..FRAMES).map(table).collect();
        let contents = (0..FRAMES).map(|_| UnsafeCell::new(0)).collect();
        let mut model = Self { frames, tables, contents, space: None };
        let (space, _) = AddressSpace::new(Cpu(&raw const model, 0)).unwrap();
        model.space = Some(space);
        Arc::new(model)
    }
}

/// No CPU of these models translates.
pub(crate) struct NoTlb;

// SAFETY: 1 to 3, no CPU translates.
unsafe impl<M: Machine> Shootdown<M> for NoTlb {
    fn invalidate(&self, _: &FlushRequest) {}
}
