//! Two CPUs fault in the same granule, in every order that the memory model allows.

extern crate std;

use super::{BLOCK_LEN, ClearFrames, PageMap, Pager};
use crate::memory::PAGE_LEN;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::address_space::AddressSpace;
use crate::memory::atomic::{AtomicU8, AtomicU64};
use crate::memory::audit::audit;
use crate::memory::frame::{FrameAllocator, FrameSource};
use crate::memory::heap::GRANULE_LEN;
use crate::memory::page_table::level::ENTRIES;
use crate::memory::page_table::loom_machine::{Cpu, HEAP, Model, ModelCell, NoTlb, leak};
use crate::memory::page_table::{Machine, Paging, TableMemory, Tracked, VirtRange};
use crate::memory::subtree::Subtree;
use core::cell::Cell;
use loom::sync::Arc;
use loom::thread;

/// How often a CPU may be interrupted by the other in one order that is tried; a fault has some hundred places for it.
const PREEMPTIONS_MAX: usize = 2;
/// How many accesses one order may have: the audit has many.
const BRANCHES_MAX: usize = 20_000;

loom::thread_local! {
    /// The CPU that the thread is.
    static INDEX: Cell<usize> = Cell::new(0);
}

/// The machine, whichever CPU runs. Whoever uses it keeps the model alive.
#[derive(Clone, Copy)]
struct Running(Cpu);

// SAFETY: the handle of a CPU may go anywhere, and each thread is a CPU of its own.
unsafe impl Sync for Running {}

// SAFETY: 1, a copy has the same pointer. 2, each thread has an index of its own.
unsafe impl FrameSource for Running {
    fn frames(&self) -> &FrameAllocator<'_> {
        self.0.frames()
    }

    fn cpu(&self) -> usize {
        INDEX.with(Cell::get)
    }
}

// SAFETY: the model's.
unsafe impl TableMemory for Running {
    type Cell = ModelCell;

    unsafe fn table(&self, frame: PhysAddr) -> &[ModelCell; ENTRIES] {
        // SAFETY: the caller's promise.
        unsafe { self.0.table(frame) }
    }

    fn paging(&self) -> Paging {
        self.0.paging()
    }
}

// SAFETY: the model's.
unsafe impl Machine for Running {
    fn space(&self) -> &AddressSpace {
        self.0.space()
    }
}

// SAFETY: the contents are all that these models know of a frame's memory.
unsafe impl ClearFrames for Running {
    unsafe fn clear(&self, start: PhysAddr, len_bytes: u64) {
        let first = start.frame_number() as usize;
        for content in &self.0.model().contents[first..first + (len_bytes / PAGE_LEN) as usize] {
            // SAFETY: the caller owns the frame; if another does as well, the model checker stops before the access.
            content.with_mut(|content| unsafe { *content = 0 });
        }
    }
}

/// Touches a page that is mapped.
fn touch(pager: &Pager<'_, Running>, page: u64) {
    let at = VirtAddr::new(HEAP.as_u64() + page * PAGE_LEN);
    assert_eq!(pager.page_in(at), Ok(PAGE_LEN));
}

#[test]
fn loom_two_cpus_fault_in_the_same_granule() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS_MAX);
    model.max_branches = BRANCHES_MAX;
    model.check(|| {
        let machine = Model::new();
        let running = Running(Cpu(&raw const *machine, 0));
        let range = Subtree::<Tracked>::reserve_at(running, VirtRange::new(HEAP, BLOCK_LEN)).unwrap();
        let words = leak(PageMap::words_for(1), || AtomicU64::new(0));
        let map = PageMap::new(words, leak(1, || AtomicU8::new(0)));
        let pager =
            Pager::new(running, range, map, GRANULE_LEN as u64).map_err(|rejected| rejected.error).unwrap();
        // SAFETY: there is nobody else yet, and all of the region is free.
        unsafe { pager.hand_out(0..GRANULE_LEN as u64, false) }.unwrap();
        let pager = Arc::new(pager);
        let theirs = Arc::clone(&pager);
        let thread = thread::spawn(move || {
            INDEX.with(|index| index.set(1));
            touch(&theirs, 1);
        });
        touch(&pager, 0);
        thread.join().unwrap();
        assert_eq!((pager.faults().small, pager.mapped().small), (1, 4), "the granule came once");
        assert_eq!((pager.credit_frames(), pager.expected_credit_frames()), (0, 0));
        let report = audit(running);
        assert!(report.is_clean(), "{report}");
        // SAFETY: the other CPU is done, and nobody uses the pages any more.
        unsafe { pager.take_in(0..GRANULE_LEN as u64, &NoTlb) };
        assert!(audit(running).is_clean());
        drop(machine);
    });
}

/// A fault maps what lies around, and another CPU takes a part of that in.
#[test]
fn loom_what_is_taken_in_is_not_mapped_by_a_fault_beside_it() {
    const GRANULE: u64 = GRANULE_LEN as u64;
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS_MAX);
    model.max_branches = BRANCHES_MAX;
    model.check(|| {
        let machine = Model::new();
        let running = Running(Cpu(&raw const *machine, 0));
        let range = Subtree::<Tracked>::reserve_at(running, VirtRange::new(HEAP, BLOCK_LEN)).unwrap();
        let words = leak(PageMap::words_for(1), || AtomicU64::new(0));
        let map = PageMap::new(words, leak(1, || AtomicU8::new(0)));
        let pager = Pager::new(running, range, map, 2 * GRANULE).map_err(|rejected| rejected.error).unwrap();
        for start in [0, GRANULE] {
            // SAFETY: there is nobody else yet, and all of the region is free.
            unsafe { pager.hand_out(start..start + GRANULE, false) }.unwrap();
        }
        let pager = Arc::new(pager);
        let theirs = Arc::clone(&pager);
        let thread = thread::spawn(move || {
            INDEX.with(|index| index.set(1));
            touch(&theirs, 0);
        });
        // SAFETY: it was handed out above, and nobody uses it.
        unsafe { pager.take_in(GRANULE..2 * GRANULE, &NoTlb) };
        thread.join().unwrap();
        assert_eq!((pager.mapped().small, pager.credit_frames()), (4, 0));
        assert!(audit(running).is_clean());
        // SAFETY: the other CPU is done, and nobody uses the pages any more.
        unsafe { pager.take_in(0..GRANULE, &NoTlb) };
        drop(machine);
    });
}
