//! Mapping by the typed core over a simulated machine, and by what goes wrong on purpose.

use super::typed::TypedCore;
use super::*;
use crate::execute::Observer;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::{Cell, UnsafeCell};
use core::time::Duration;
use unikernel::memory::PAGE_LEN;
use unikernel::memory::address::VirtAddr;
use unikernel::memory::frame::FrameSource;
use unikernel::memory::page_table::{TableMemory, Tracked, VaRange};
use unikernel::memory::simulation::{NoTlb, PVM, RING_0, SimulatedCpu, SimulatedRam, Simulation};

/// What is wrong with what maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing.
    None,
    /// All ranges lead to the same memory.
    Aliases,
    /// Unmapping frees nothing.
    Leaks,
    /// Unmapping is refused.
    StaysMapped,
    /// There is no room.
    Full,
}

/// What only pretends to map.
#[derive(Clone)]
pub(crate) struct Pretended {
    flaw: Flaw,
    free_bytes: Rc<Cell<u64>>,
    shared: Rc<UnsafeCell<Vec<u64>>>,
}

impl Pretended {
    /// With 1 MiB to map.
    pub(crate) fn new(flaw: Flaw) -> Self {
        Self { flaw, free_bytes: Rc::new(Cell::new(1 << 20)), shared: Rc::default() }
    }
}

// SAFETY: the memory of a range is as long as the portion, and stays with it.
unsafe impl Mapper for Pretended {
    type Range = UnsafeCell<Vec<u64>>;

    fn free_bytes(&self) -> u64 {
        self.free_bytes.get()
    }

    fn takes(&self, _: Portion) -> bool {
        true
    }

    fn reserve(&self, portion: Portion) -> Result<Self::Range, MapError> {
        let words = portion.len_bytes() as usize / 8;
        // SAFETY: no pointer into it is used any more.
        unsafe { (*self.shared.get()).resize(words, 0) };
        Ok(UnsafeCell::new(alloc::vec![0; words]))
    }

    fn map(&self, _: &mut Self::Range, portion: Portion) -> Result<(), MapError> {
        if self.flaw == Flaw::Full {
            return Err(MapError::NoRoom);
        }
        self.free_bytes.set(self.free_bytes.get() - portion.len_bytes());
        Ok(())
    }

    fn word(&self, range: &Self::Range, offset: u64) -> *mut u64 {
        let words = if self.flaw == Flaw::Aliases { self.shared.get() } else { range.get() };
        // SAFETY: nothing else is borrowed while the pointer is made.
        unsafe { (*words).as_mut_ptr().byte_add(offset as usize) }
    }

    fn unmap(&self, mut range: Self::Range) -> Result<Self::Range, MapError> {
        if self.flaw == Flaw::StaysMapped {
            return Err(MapError::Refused("it stays".to_string()));
        }
        let len = if self.flaw == Flaw::Leaks { 0 } else { range.get_mut().len() as u64 * 8 };
        self.free_bytes.set(self.free_bytes.get() + len);
        Ok(range)
    }

    fn give_back(&self, _: Self::Range) -> Result<(), MapError> {
        Ok(())
    }

    fn trim(&self) -> Result<(), MapError> {
        Ok(())
    }
}

#[derive(Default)]
struct Witness {
    wrong: u64,
    stops: bool,
}

impl Observer for Witness {
    fn wrong(&mut self, _: WrongWord) {
        self.wrong += 1;
    }

    fn progress(&mut self, _: u64) -> ControlFlow<()> {
        if self.stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// What came of it, the figures, and the wrong words.
type Outcome = (Result<ControlFlow<()>, String>, Vec<Figure>, u64);

fn run_by(mapper: &impl Mapper, mut witness: Witness) -> Outcome {
    let clock = Cell::new(0);
    let now = || {
        clock.set(clock.get() + 1);
        Duration::from_micros(clock.get())
    };
    let mut watch = Watch::new(&now, &mut witness);
    let ended = run(mapper, 1, &mut watch);
    let figures = watch.into_figures();
    (ended, figures, witness.wrong)
}

fn pretended(flaw: Flaw) -> Outcome {
    run_by(&Pretended::new(flaw), Witness::default())
}

/// The memory of the frame that is mapped at the address.
fn reach<'a>(
    cpu: SimulatedCpu<'a>,
    range: &VaRange<Tracked, SimulatedCpu<'a>>,
    address: VirtAddr,
) -> *mut u64 {
    let mapping = range.query(address).unwrap();
    let phys = mapping.phys.as_u64() + (address.as_u64() - mapping.range.start.as_u64());
    let frame = unikernel::memory::address::PhysAddr::of_frame(phys / PAGE_LEN);
    // SAFETY: the mapping owns the frame, and nobody takes it for a table.
    unsafe { cpu.table(frame)[(phys % PAGE_LEN) as usize / 8].as_ptr() }
}

/// Churns on a machine with so many free frames.
fn simulated(frames: u64, paging: unikernel::memory::page_table::Paging) -> Outcome {
    // Frame 0 is never handed out.
    let all = frames as usize + 1;
    let mut ram = SimulatedRam::new(all, all, 1);
    let free = 1..all as u64;
    let machine = Simulation::new(&mut ram, paging, core::slice::from_ref(&free)).unwrap();
    let (cpu, _inactive) = machine.boot().unwrap();
    // SAFETY: `reach` asks the tables.
    let core = unsafe { TypedCore::new(cpu, NoTlb::default(), reach) };
    let before = cpu.frames().statistics().free;
    let outcome = run_by(&core, Witness::default());
    assert_eq!(cpu.frames().statistics().free, before);
    outcome
}

#[test]
fn the_typed_core_passes_with_all_portions_there_is_room_for() {
    for paging in [RING_0, PVM] {
        let (ended, figures, wrong) = simulated(40_000, paging);
        assert_eq!((ended, wrong), (Ok(ControlFlow::Continue(())), 0));
        let parts: Vec<&str> = figures.iter().map(|figure| figure.part.as_str()).collect();
        assert_eq!(parts.len(), 2 * PORTIONS.len(), "{parts:?}");
        assert_eq!(parts[..4], ["map-4k-single", "unmap-4k-single", "map-4k-run-8", "unmap-4k-run-8"]);
        assert_eq!(parts[18..], ["map-2m-batch-8", "unmap-2m-batch-8"]);
        assert!(figures.iter().all(|figure| figure.operations >= PORTIONS_MIN && figure.refused == 0));
        assert!(figures.iter().all(|figure| !figure.time.is_zero()));
        assert_eq!(figures[19].pages, Some(Pages { count: 8, page_bytes: 2 << 20 }));
    }
}

#[test]
fn sixty_four_frames_are_enough() {
    let (ended, figures, _) = simulated(65, RING_0);
    assert_eq!(ended, Ok(ControlFlow::Continue(())));
    let parts: Vec<&str> = figures.iter().map(|figure| figure.part.as_str()).collect();
    assert_eq!(parts.len(), 6, "single pages, and eight at a time: {parts:?}");
    assert!(figures.iter().all(|figure| figure.operations > 0));
}

#[test]
fn without_room_it_is_refused_and_counted() {
    let (ended, figures, _) = simulated(2, RING_0);
    assert_eq!(ended, Ok(ControlFlow::Continue(())));
    assert!(figures[0].refused > 0, "{figures:?}");
    assert_eq!((figures[0].operations, figures[1].operations), (0, 0));
    let (ended, figures, _) = pretended(Flaw::Full);
    assert_eq!(ended, Ok(ControlFlow::Continue(())));
    assert!(figures.iter().all(|figure| figure.operations == 0));
}

#[test]
fn pages_mapped_twice_are_found() {
    let (ended, _, wrong) = pretended(Flaw::Aliases);
    assert_eq!(ended, Ok(ControlFlow::Continue(())));
    assert!(wrong > 0);
    assert_eq!(pretended(Flaw::None).2, 0);
}

#[test]
fn what_is_lost_or_stays_mapped_is_an_error() {
    let mapper = Pretended::new(Flaw::Leaks);
    mapper.free_bytes.set(64 << 20);
    let message = run_by(&mapper, Witness::default()).0.unwrap_err();
    assert!(message.contains("4k-single: 67108864 bytes were free before, and"), "{message}");
    assert_eq!(pretended(Flaw::StaysMapped).0, Err("4k-single: it stays".to_string()));
}

#[test]
fn it_stops_when_it_is_told_and_has_given_back_what_it_had() {
    let mapper = Pretended::new(Flaw::None);
    let (ended, figures, _) = run_by(&mapper, Witness { stops: true, ..Witness::default() });
    assert_eq!((ended, figures.len()), (Ok(ControlFlow::Break(())), 2));
    assert_eq!(mapper.free_bytes.get(), 1 << 20);
}
