//! The mistake that this design answers, in a model: tables without a type (Asterinas, issue 1399 and PR 1387).
//!
//! Whether leaves are tracked is known to the cursor alone, from the virtual address. That is right as long as it takes out
//! one page after the other. A whole table that it takes out is dropped without it, and takes each leaf for tracked.

use super::fixture::*;
use crate::memory::address::PhysAddr;
use crate::memory::frame::{Frame, FrameSource};
use crate::memory::page_size::Size4KiB;
use crate::memory::page_table::{Kva, Mmio, Tracked};
use crate::memory::simulation::SimulatedCpu;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

/// Pages from this number on are tracked; those below are a window.
const FIRST_TRACKED: u64 = 512;

/// Frame numbers that were given back, in order, also those beyond the metadata.
type Log = Rc<RefCell<Vec<u64>>>;

enum Entry<'a> {
    Leaf(PhysAddr),
    Table(Box<UntypedNode<'a>>),
}

/// A table of any kind of leaves.
struct UntypedNode<'a> {
    machine: SimulatedCpu<'a>,
    entries: BTreeMap<u64, Entry<'a>>,
    log: Log,
}

impl<'a> UntypedNode<'a> {
    fn new(machine: SimulatedCpu<'a>, log: &Log) -> Self {
        Self { machine, entries: BTreeMap::new(), log: log.clone() }
    }
}

fn give_back(machine: SimulatedCpu<'_>, log: &Log, phys: PhysAddr) {
    log.borrow_mut().push(phys.frame_number());
    if phys.frame_number() < machine.frames().frame_count() {
        // SAFETY: none. That is the mistake: nobody gave this frame to the table.
        drop(unsafe { Frame::<Size4KiB, _>::from_raw(machine, phys) });
    }
}

impl Drop for UntypedNode<'_> {
    fn drop(&mut self) {
        for entry in self.entries.values() {
            if let Entry::Leaf(phys) = entry {
                give_back(self.machine, &self.log, *phys);
            }
        }
    }
}

/// The only one who knows what is tracked.
struct Cursor<'a> {
    root: UntypedNode<'a>,
}

impl<'a> Cursor<'a> {
    fn map(&mut self, page: u64, phys: PhysAddr) {
        let (machine, log) = (self.root.machine, self.root.log.clone());
        let new = || Entry::Table(Box::new(UntypedNode::new(machine, &log)));
        if let Entry::Table(table) = self.root.entries.entry(page / 512).or_insert_with(new) {
            table.entries.insert(page % 512, Entry::Leaf(phys));
        }
    }

    fn unmap_page(&mut self, page: u64) {
        let Some(Entry::Table(table)) = self.root.entries.get_mut(&(page / 512)) else { return };
        if let Some(Entry::Leaf(phys)) = table.entries.remove(&(page % 512))
            && page >= FIRST_TRACKED
        {
            give_back(table.machine, &table.log, phys);
        }
    }

    fn detach_table(&mut self, page: u64) -> Option<Entry<'a>> {
        self.root.entries.remove(&(page / 512))
    }
}

/// The model over a frame of somebody else and a device.
fn with_model(test: impl FnOnce(SimulatedCpu<'_>, Cursor<'_>, Frame<Size4KiB, SimulatedCpu<'_>>, Log)) {
    with_small_machine(|cpu| {
        let owned = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
        let log = Log::default();
        let mut cursor = Cursor { root: UntypedNode::new(cpu, &log) };
        cursor.map(3, owned.start());
        cursor.map(4, PhysAddr::new(DEVICE));
        test(cpu, cursor, owned, log);
    });
}

#[test]
fn page_by_page_the_untyped_model_frees_what_is_tracked_and_nothing_else() {
    with_model(|cpu, mut cursor, owned, log| {
        let before = free(cpu);
        let tracked = Frame::<Size4KiB, _>::allocate(cpu).unwrap().into_raw();
        cursor.map(FIRST_TRACKED, tracked);
        for page in [3, 4, FIRST_TRACKED] {
            cursor.unmap_page(page);
        }
        assert_eq!(*log.borrow(), [tracked.frame_number()]);
        assert_eq!(free(cpu), before);
        assert!(cpu.frames().is_allocated(owned.start().frame_number()));
    });
}

#[test]
fn a_detached_untyped_table_frees_memory_that_is_not_its_own() {
    with_model(|cpu, mut cursor, owned, log| {
        let (before, number) = (free(cpu), owned.start().frame_number());
        drop(cursor.detach_table(3));
        let device = DEVICE / KIB4;
        assert_eq!(*log.borrow(), [number, device], "both were given back");
        assert!(device >= cpu.frames().frame_count(), "there is no metadata for the device");
        assert_eq!(free(cpu), before + 1);
        assert!(!cpu.frames().is_allocated(number), "free, and owned");
        let second_owner = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
        assert_eq!(second_owner.start(), owned.start(), "two owners of one frame");
        core::mem::forget(second_owner);
    });
}

#[test]
fn the_same_sequence_on_the_real_types_frees_nothing() {
    with_small_machine(|cpu| {
        let mut heap = reserve::<Tracked, _>(cpu, MIB2);
        let frames = run::<Size4KiB, _>(cpu, 5);
        let shown = frames.start();
        heap.map(at(&heap, 0), frames, HEAP).unwrap();
        let owned = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
        let before = state(cpu);
        let mut kernel = slot::<Kva, _>(cpu, 0);
        kernel.map(at(&kernel, 3 * KIB4), window::<Size4KiB, _>(&cpu, owned.start(), 1), KERNEL).unwrap();
        kernel.map(at(&kernel, 8 * KIB4), window::<Size4KiB, _>(&cpu, shown, 5), KERNEL).unwrap();
        let mut devices = slot::<Mmio, _>(cpu, 0);
        devices.map(at(&devices, 4 * KIB4), device::<Size4KiB, _>(&cpu, 0, 1), UNCACHED).unwrap();
        assert_eq!(state(cpu).audit.frames.tables, before.audit.frames.tables + 6);
        let _kernel = release(kernel.detach().unwrap());
        let _devices = release(devices.detach().unwrap());
        assert_eq!(state(cpu), before);
        for frame in 0..5 {
            assert!(cpu.frames().is_allocated(shown.frame_number() + frame));
        }
        assert!(cpu.frames().is_allocated(owned.start().frame_number()));
        assert_eq!(leaves(&heap).len(), 5);
    });
}
