//! The protocol of [`super`] in every order that the memory model allows: neighbours that share tables, a range that passes
//! from one CPU to another, and a CPU that translates while another takes out.

extern crate std;

use super::attributes::{DataAccess, MmioAttributes};
use super::machine::{EntryCell, Paging};
use super::{Detached, Mmio, MmioRun, Tracked, VaRange, flush};
use super::{FlushRequest, Machine, Ownership, Shootdown, TableMemory, VirtRange};
use crate::memory::PAGE_LEN;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::address_space::AddressSpace;
use crate::memory::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering};
use crate::memory::audit::audit;
use crate::memory::frame::{
    CpuFrames, Frame, FrameAllocator, FrameArrayLengths, FrameArrays, FrameSource, FrameState,
};
use crate::memory::page_size::Size4KiB;
use crate::memory::page_table::attributes::DeviceCache;
use crate::memory::page_table::entry::Entry;
use crate::memory::page_table::level::ENTRIES;
use crate::memory::subtree::Subtree;
use alloc::boxed::Box;
use alloc::vec::Vec;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::thread;

/// How often a CPU may be interrupted by the other in one order that is tried.
const PREEMPTIONS_MAX: usize = 3;
/// How many accesses one order may have: the audit has many.
const BRANCHES_MAX: usize = 20_000;
const FRAMES: usize = 12;
const CPUS: usize = 2;
/// Where the ranges lie: in the first entries of all tables.
const DEVICES: VirtAddr = VirtAddr::new(0xffff_8080_0000_0000);
const HEAP: VirtAddr = VirtAddr::new(1 << 39);
const REGISTERS: PhysAddr = PhysAddr::new(1 << 40);
const UNCACHED: MmioAttributes =
    MmioAttributes { access: DataAccess::ReadWrite, cache: DeviceCache::Uncached };

/// Entries that models use are checked; the others are plain, since thousands of checked ones are too many.
enum ModelCell {
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

struct Model {
    frames: FrameAllocator<'static>,
    tables: Vec<Vec<ModelCell>>,
    /// What is in each frame, to its owner.
    contents: Vec<UnsafeCell<u64>>,
    space: Option<AddressSpace>,
}

/// A CPU of the model. Whoever uses it keeps the model alive.
#[derive(Clone, Copy)]
struct Cpu(*const Model, usize);

// SAFETY: the model is `Sync` by its parts, and outlives all handles.
unsafe impl Send for Cpu {}

impl Cpu {
    fn model(&self) -> &Model {
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

fn leak<T>(len: usize, new: impl Fn() -> T) -> &'static [T] {
    Box::leak((0..len).map(|_| new()).collect::<Vec<_>>().into_boxed_slice())
}

impl Model {
    fn new() -> Arc<Self> {
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
struct NoTlb;

// SAFETY: 1 to 3, no CPU translates.
unsafe impl Shootdown<Cpu> for NoTlb {
    fn invalidate(&self, _: &FlushRequest) {}
}

fn range<O: crate::memory::address_space::Placed>(cpu: Cpu, start: VirtAddr, page: u64) -> VaRange<O, Cpu> {
    let at = VirtAddr::new(start.as_u64() + page * PAGE_LEN);
    Subtree::<O>::reserve_at(cpu, VirtRange::new(at, PAGE_LEN)).unwrap()
}

fn map_device(range: &mut VaRange<Mmio, Cpu>, cpu: Cpu, page: u64) {
    let start = PhysAddr::new(REGISTERS.as_u64() + page * PAGE_LEN);
    let run = MmioRun::<Size4KiB>::new(&cpu, start, 1).unwrap();
    range.map(range.range().start, run, UNCACHED).map_err(|rejected| rejected.error).unwrap();
}

fn release<O: Ownership>(detached: Detached<O, Cpu>) -> VaRange<O, Cpu> {
    flush(detached, &NoTlb).release()
}

/// Runs both, each as a CPU of its own, and looks at the machine afterwards.
fn check<A: Send + 'static>(
    ranges: fn(Cpu, Cpu) -> (A, A),
    one: fn(Cpu, A) -> A,
    other: fn(Cpu, A) -> A,
    after: fn(Cpu, A, A),
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS_MAX);
    model.max_branches = BRANCHES_MAX;
    model.check(move || {
        let machine = Model::new();
        let cpus = [0, 1].map(|index| Cpu(&raw const *machine, index));
        let (first, second) = ranges(cpus[0], cpus[1]);
        let theirs = cpus[1];
        let thread = thread::spawn(move || other(theirs, second));
        let first = one(cpus[0], first);
        let second = thread.join().unwrap();
        after(cpus[0], first, second);
        let report = audit(cpus[0]);
        assert!(report.is_clean(), "{report}");
        drop(machine);
    });
}

#[test]
fn loom_neighbours_make_their_shared_tables_once() {
    check(
        |one, other| (range::<Mmio>(one, DEVICES, 0), range::<Mmio>(other, DEVICES, 1)),
        |cpu, mut range| {
            map_device(&mut range, cpu, 0);
            range
        },
        |cpu, mut range| {
            map_device(&mut range, cpu, 1);
            range
        },
        |cpu, first, second| {
            assert_eq!(first.leaves().count() + second.leaves().count(), 2);
            let report = audit(cpu);
            assert_eq!(report.frames.tables, 4, "{report}");
            assert_eq!(report.frames.held, 0, "{report}");
        },
    );
}

#[test]
fn loom_one_maps_while_its_neighbour_takes_out() {
    check(
        |one, other| {
            let mut range_of_other = range::<Tracked>(other, HEAP, 1);
            let frame = Frame::<Size4KiB, _>::allocate(one).unwrap();
            let at = range_of_other.range().start;
            range_of_other.map(at, frame, DataAccess::ReadWrite).map_err(|rejected| rejected.error).unwrap();
            (range::<Tracked>(one, HEAP, 0), range_of_other)
        },
        |cpu, mut range| {
            let frame = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
            let at = range.range().start;
            range.map(at, frame, DataAccess::ReadWrite).map_err(|rejected| rejected.error).unwrap();
            range
        },
        |_, range| release(range.unmap().map_err(|rejected| rejected.error).unwrap()),
        |cpu, first, second| {
            assert_eq!((first.leaves().count(), second.leaves().count()), (1, 0));
            // Who owns both sees all that either counted, and takes the table out when nothing is in it.
            let both = first.join(second).map_err(|rejected| rejected.error).unwrap();
            let both = release(both.unmap().map_err(|rejected| rejected.error).unwrap());
            assert!(audit(cpu).is_clean());
            Subtree::give_back(both).map_err(|rejected| rejected.error).unwrap();
            let all = Subtree::<Tracked>::reserve_longest(cpu).unwrap();
            let all = release(all.trim());
            assert_eq!(audit(cpu).frames.free, FRAMES as u64 - 2, "all but frame 0 and the root");
            Subtree::give_back(all).map_err(|rejected| rejected.error).unwrap();
        },
    );
}

/// A CPU that translates one address, as hardware does, until it is told to forget: then it says so.
struct Walker {
    flushed: AtomicBool,
    /// Whether the shootdown waits for the walker, which is its duty.
    waits: bool,
}

// SAFETY: 1 to 3, if it waits: the walker stores `flushed` after its last access by the translation, with Release.
unsafe impl Shootdown<Cpu> for &Walker {
    fn invalidate(&self, _: &FlushRequest) {
        while self.waits && !self.flushed.load(Ordering::Acquire) {
            thread::yield_now();
        }
    }
}

fn a_walker_uses_memory_while_it_is_taken_out(waits: bool) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS_MAX);
    model.max_branches = BRANCHES_MAX;
    model.check(move || {
        let machine = Model::new();
        let cpu = Cpu(&raw const *machine, 0);
        let walker = Arc::new(Walker { flushed: AtomicBool::new(false), waits });
        let mut heap = range::<Tracked>(cpu, HEAP, 0);
        let frame = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
        let number = frame.start().frame_number() as usize;
        let at = heap.range().start;
        heap.map(at, frame, DataAccess::ReadWrite).map_err(|rejected| rejected.error).unwrap();
        let (theirs, hardware) = (Arc::clone(&machine), Arc::clone(&walker));
        let thread = thread::spawn(move || {
            let mut table = theirs.space.as_ref().unwrap().root();
            for index in [1, 0, 0, 0] {
                let bits = theirs.tables[table.frame_number() as usize][index].load(Ordering::Acquire);
                let entry = Entry::from_bits(bits);
                if !entry.is_present() {
                    break;
                }
                table = entry.table();
            }
            if table.frame_number() as usize == number {
                // SAFETY: the model checker reports it if the owner writes meanwhile.
                theirs.contents[number]
                    .with(|content| assert_eq!(unsafe { *content }, 0, "another's content"));
            }
            hardware.flushed.store(true, Ordering::Release);
        });
        let detached = heap.unmap().map_err(|rejected| rejected.error).unwrap();
        let _heap = flush(detached, &&*walker).release();
        // The frame is free: its next owner writes.
        let next = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
        assert_eq!(next.start().frame_number() as usize, number);
        // SAFETY: owned.
        machine.contents[number].with_mut(|content| unsafe { *content = 1 });
        thread.join().unwrap();
        assert_eq!(cpu.frames().state(number as u64), FrameState::Unmapped);
        drop(next);
    });
}

#[test]
fn loom_memory_is_used_again_only_after_every_cpu_has_flushed() {
    a_walker_uses_memory_while_it_is_taken_out(true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn loom_a_shootdown_that_does_not_wait_is_found_out() {
    a_walker_uses_memory_while_it_is_taken_out(false);
}
