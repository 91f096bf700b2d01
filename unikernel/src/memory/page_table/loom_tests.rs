//! The protocol of [`super`] in every order that the memory model allows: neighbours that share tables, a range that passes
//! from one CPU to another, and a CPU that translates while another takes out.

extern crate std;

use super::attributes::{DataAccess, MmioAttributes};
use super::loom_machine::{Cpu, FRAMES, HEAP, Model, NoTlb};
use super::machine::EntryCell;
use super::{Detached, Mmio, MmioRun, Tracked, VaRange, flush};
use super::{FlushRequest, Ownership, Shootdown, VirtRange};
use crate::memory::PAGE_LEN;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::atomic::Ordering;
use crate::memory::audit::audit;
use crate::memory::frame::{Frame, FrameSource, FrameState};
use crate::memory::page_size::Size4KiB;
use crate::memory::page_table::attributes::DeviceCache;
use crate::memory::page_table::entry::Entry;
use crate::memory::subtree::Subtree;
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::thread;

/// How often a CPU may be interrupted by the other in one order that is tried.
const PREEMPTIONS_MAX: usize = 3;
/// How many accesses one order may have: the audit has many.
const BRANCHES_MAX: usize = 20_000;
/// Where the ranges lie: in the first entries of all tables.
const DEVICES: VirtAddr = VirtAddr::new(0xffff_8080_0000_0000);
const REGISTERS: PhysAddr = PhysAddr::new(1 << 40);
const UNCACHED: MmioAttributes =
    MmioAttributes { access: DataAccess::ReadWrite, cache: DeviceCache::Uncached };

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
