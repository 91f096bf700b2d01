//! Memory that only pretends to come on demand, and what goes wrong with it on purpose.

use super::*;
use crate::execute::{Observer, WrongWord};
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::{Cell, UnsafeCell};
use core::time::Duration;

/// What is wrong with the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing.
    None,
    /// Pages come again as they went.
    Uncleared,
    /// All buffers have the same memory.
    Aliases,
    /// The last word of each buffer does not keep what is written.
    Forgets,
    /// What goes is not free.
    Leaks,
    /// Pages do not go.
    Stays,
    /// There are no large pages.
    NoLarge,
    /// Pages can't come beforehand.
    NoPrefault,
    /// There is no room.
    Full,
}

/// Memory that is all there, and cleared when it is given back.
#[derive(Clone)]
pub(crate) struct Pretended {
    flaw: Flaw,
    free_bytes: Rc<Cell<u64>>,
    large_pages: Rc<Cell<u64>>,
    faults: Rc<Cell<u64>>,
    shared: Rc<UnsafeCell<Vec<u64>>>,
}

/// A buffer all of whose pages come when anybody asks where it is, by one fault.
pub(crate) struct Buffer {
    memory: Pretended,
    words: UnsafeCell<Vec<u64>>,
    large_pages: u64,
    is_mapped: bool,
}

impl Pretended {
    /// With 64 MiB that could be reserved.
    pub(crate) fn new(flaw: Flaw) -> Self {
        let free_bytes = Rc::new(Cell::new(64 << 20));
        Self { flaw, free_bytes, large_pages: Rc::default(), faults: Rc::default(), shared: Rc::default() }
    }
}

impl Buffer {
    fn len_bytes(&self) -> u64 {
        // SAFETY: nobody else looks at it at the same time.
        unsafe { (*self.words.get()).len() as u64 * 8 }
    }

    fn come(&mut self) {
        if !core::mem::replace(&mut self.is_mapped, true) {
            self.memory.large_pages.update(|pages| pages + self.large_pages);
            self.memory.faults.update(|faults| faults + 1);
        }
    }

    fn go(&mut self) {
        if core::mem::take(&mut self.is_mapped) {
            self.memory.large_pages.update(|pages| pages - self.large_pages);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.memory.flaw != Flaw::Leaks {
            self.memory.free_bytes.update(|bytes| bytes + self.len_bytes());
        }
    }
}

// SAFETY: the memory of a buffer is as long as it, and stays with it.
unsafe impl DemandMemory for Pretended {
    type Buffer = Buffer;

    fn settled_free_bytes(&self) -> Option<u64> {
        Some(self.free_bytes.get())
    }

    fn reserve(&self, page: Page, len_bytes: usize) -> Result<Buffer, MapError> {
        if self.flaw == Flaw::Full {
            return Err(MapError::NoRoom);
        }
        self.free_bytes.update(|bytes| bytes - len_bytes as u64);
        // SAFETY: no pointer into it is used any more.
        unsafe { (*self.shared.get()).resize(len_bytes / 8, 0) };
        let words = UnsafeCell::new(alloc::vec![0; len_bytes / 8]);
        let is_large = page == Page::Large && self.flaw != Flaw::NoLarge;
        let large_pages = if is_large { len_bytes as u64 / page.len_bytes() } else { 0 };
        Ok(Buffer { memory: self.clone(), words, large_pages, is_mapped: false })
    }

    fn start(&self, buffer: &mut Buffer) -> *mut u8 {
        buffer.come();
        if self.flaw == Flaw::Forgets
            && let Some(last) = buffer.words.get_mut().last_mut()
        {
            *last = 0;
        }
        let words = if self.flaw == Flaw::Aliases { self.shared.get() } else { buffer.words.get() };
        // SAFETY: nothing else is borrowed while the pointer is made.
        unsafe { (*words).as_mut_ptr().cast() }
    }

    fn prefault(&self, buffer: &mut Buffer) -> Result<(), MapError> {
        if self.flaw == Flaw::NoPrefault {
            return Err(MapError::NoRoom);
        }
        buffer.come();
        Ok(())
    }

    fn give_back(&self, buffer: &mut Buffer) -> Result<(), MapError> {
        buffer.go();
        match self.flaw {
            Flaw::Stays => return Err(MapError::Refused("it stays".to_string())),
            Flaw::Uncleared => {}
            _ => {
                buffer.words.get_mut().fill(0);
                // SAFETY: no pointer into it is used any more.
                unsafe { (*self.shared.get()).fill(0) };
            }
        }
        Ok(())
    }

    fn reserve_again(&self, _: &mut Buffer) -> Result<(), MapError> {
        Ok(())
    }

    fn faults(&self) -> u64 {
        self.faults.get()
    }

    fn large_pages(&self) -> u64 {
        self.large_pages.get()
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

fn run_by(memory: &Pretended, room: u64, mut witness: Witness) -> Outcome {
    let clock = Cell::new(0);
    let now = || {
        clock.update(|now| now + 1);
        Duration::from_micros(clock.get())
    };
    let mut watch = Watch::new(&now, &mut witness);
    let ended = run(memory, room, 1, &mut watch);
    let figures = watch.into_figures();
    (ended, figures, witness.wrong)
}

fn pretended(flaw: Flaw) -> Outcome {
    run_by(&Pretended::new(flaw), 2 << 20, Witness::default())
}

fn part<'a>(figures: &'a [Figure], name: &str) -> &'a Figure {
    figures.iter().find(|figure| figure.part == name).unwrap()
}

const PASSED: Result<ControlFlow<()>, String> = Ok(ControlFlow::Continue(()));

#[test]
fn every_part_does_its_operations_and_time_is_that_of_the_timed_rounds() {
    let (ended, figures, wrong) = pretended(Flaw::None);
    assert_eq!((ended, wrong), (PASSED, 0));
    let told: Vec<_> = figures.iter().map(|figure| (figure.part.as_str(), figure.operations)).collect();
    // Two buffers of 256 small pages, or one large page, in 32 rounds.
    assert_eq!(
        told,
        [
            ("touch-4k", 32 * 512),
            ("touch-4k-sparse", 32 * 32),
            ("prefault-4k", 32 * 512),
            ("give-back-4k", 2 * 32 * 512),
            ("touch-2m", 32),
            ("give-back-2m", 32),
        ]
    );
    assert!(figures.iter().all(|figure| figure.refused == 0));
    // The clock ticks once for each look: one tick for each buffer.
    assert_eq!(part(&figures, "touch-4k").time, Duration::from_micros(64));
    assert_eq!(part(&figures, "give-back-2m").time, Duration::from_micros(32));
    let faults: Vec<_> = figures.iter().map(|figure| figure.faults).collect();
    assert_eq!(faults, [Some(64), Some(64), Some(0), None, Some(32), None]);
    assert_eq!(part(&figures, "touch-2m").pages, Some(Pages { count: 1, page_bytes: 2 << 20 }));
}

#[test]
fn pages_that_are_not_cleared_are_found() {
    let (ended, _, wrong) = pretended(Flaw::Uncleared);
    assert_eq!(ended, PASSED);
    // Both marks of each page, in each round but the first.
    assert!(wrong > 2 * 32 * 512, "{wrong}");
}

#[test]
fn marks_that_are_lost_are_found() {
    // Two buffers of small pages lose one in each untimed round, and in both ways of timed ones that mark the last page; the
    // buffer of large ones loses one in each round.
    assert_eq!(pretended(Flaw::Forgets).2, 2 * 32 + 2 * 2 * 32 + 33);
    assert!(pretended(Flaw::Aliases).2 > 0);
}

#[test]
fn what_is_lost_or_stays_is_an_error() {
    let message = pretended(Flaw::Leaks).0.unwrap_err();
    assert_eq!(message, "give-back-4k: 67108864 bytes were free before, and 65011712 are now");
    assert_eq!(pretended(Flaw::Stays).0, Err("touch-4k: it stays".to_string()));
}

#[test]
fn pages_that_are_not_as_long_as_they_should_be_are_refused() {
    let (ended, figures, wrong) = pretended(Flaw::NoLarge);
    assert_eq!((ended, wrong), (PASSED, 0));
    for name in ["touch-2m", "give-back-2m"] {
        let figure = part(&figures, name);
        assert_eq!((figure.operations, figure.refused, figure.time), (0, 32, Duration::ZERO));
    }
    assert!(part(&figures, "touch-4k").operations > 0);
}

#[test]
fn a_machine_without_prefaulting_does_the_rest() {
    let (ended, figures, wrong) = pretended(Flaw::NoPrefault);
    assert_eq!((ended, wrong), (PASSED, 0));
    let prefault = part(&figures, "prefault-4k");
    assert_eq!((prefault.operations, prefault.refused), (0, 32 * 512));
    assert!(figures.iter().all(|figure| figure.part == "prefault-4k" || figure.refused == 0));
}

#[test]
fn without_room_it_is_refused_and_with_little_it_works() {
    let (ended, figures, _) = pretended(Flaw::Full);
    assert_eq!(ended, PASSED);
    assert!(figures.iter().all(|figure| (figure.operations, figure.refused) == (0, 1)), "{figures:?}");
    let (ended, figures, wrong) = run_by(&Pretended::new(Flaw::None), 160 << 10, Witness::default());
    assert_eq!((ended, wrong), (PASSED, 0));
    assert_eq!(part(&figures, "touch-4k").operations, 32 * 32, "two times sixteen pages");
    assert_eq!(part(&figures, "touch-2m").refused, 1);
}

#[test]
fn it_stops_when_it_is_told_and_has_given_back_what_it_had() {
    let memory = Pretended::new(Flaw::None);
    let (ended, figures, _) = run_by(&memory, 2 << 20, Witness { stops: true, ..Witness::default() });
    assert_eq!((ended, figures.len()), (Ok(ControlFlow::Break(())), 4));
    assert_eq!(memory.free_bytes.get(), 64 << 20);
}
