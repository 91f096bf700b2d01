//! `fault-storm`: pages that come when they are touched, and go back.
//!
//! Buffers of one length of page are taken, and in each round all of their pages come, are found to be all zeros, get marks of
//! their own, are found to hold them when all have theirs, and go back. An operation is about one page:
//!
//! | part | operation |
//! |---|---|
//! | `touch-4k` | the first access to a page of 4 KiB, from the lowest on; the guest maps 4 or 16 at a fault |
//! | `touch-4k-sparse` | the same for one page of each sixteen: each is a fault |
//! | `prefault-4k` | a page of 4 KiB that comes before it is touched |
//! | `give-back-4k` | a page of 4 KiB that goes, with all of its buffer at once |
//! | `touch-2m`, `give-back-2m` | the same with pages of 2 MiB; refused where smaller pages came instead |
//!
//! The first rounds are not timed: below a virtual machine, memory that was never touched takes its time. No more is touched at a
//! time than a quarter of what the run may take, and of what is free. At the end as much memory must be free, and promised to
//! nobody, as was before.
//!
//! | file | about |
//! |---|---|
//! | [`memory`] | the seam to memory that comes on demand |
//! | `buffers` | buffers in which pages come, are marked, and go |

mod buffers;
pub mod memory;
#[cfg(test)]
pub(crate) mod tests;

use super::figure::{Figure, Pages};
use super::map::{MapError, Page};
use super::random::Random;
use super::watch::Watch;
use crate::execute::Observer;
use alloc::string::String;
use buffers::Buffers;
use core::ops::ControlFlow;
pub use memory::DemandMemory;

/// Length of buffers of small pages: less than a large page, which would come instead.
const SMALL_BUFFER_LEN: u64 = 1 << 20;
/// Of how many bytes that are free one is touched.
const FREE_ONE_IN: u64 = 4;
/// Most bytes of buffers at a time.
const BYTES_MAX: u64 = 64 << 20;
/// Bytes that come in each way in all rounds that are timed, and how many rounds there are, timed or not, at most.
const ROUNDS_BYTES: u64 = 128 << 20;
const ROUNDS_MAX: u64 = 32;

/// How pages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Each is touched.
    Touch,
    /// One of each sixteen is touched.
    TouchSparse,
    /// All come beforehand.
    Prefault,
}

impl Way {
    /// One page of so many is touched.
    const fn page_step(self) -> u64 {
        match self {
            Self::Touch | Self::Prefault => 1,
            Self::TouchSparse => 16,
        }
    }
}

/// What is done with pages of one length: in each way, with the name of its part, and the name for giving back.
struct Storm {
    page: Page,
    buffer_len: u64,
    /// Bytes that come before anything is timed, in one round at least.
    untimed_bytes: u64,
    ways: &'static [(Way, &'static str)],
    give_back: &'static str,
}

const STORMS: [Storm; 2] = [
    Storm {
        page: Page::Small,
        buffer_len: SMALL_BUFFER_LEN,
        untimed_bytes: 256 << 20,
        ways: &[
            (Way::Touch, "touch-4k"),
            (Way::TouchSparse, "touch-4k-sparse"),
            (Way::Prefault, "prefault-4k"),
        ],
        give_back: "give-back-4k",
    },
    Storm {
        page: Page::Large,
        buffer_len: 4 * Page::Large.len_bytes(),
        untimed_bytes: 0,
        ways: &[(Way::Touch, "touch-2m")],
        give_back: "give-back-2m",
    },
];

/// Has pages come and go, in at most `room` bytes. Breaks off when the observer says so.
///
/// # Errors
/// A line that says what should have been done and was not, or that memory was lost.
pub fn run(
    memory: &impl DemandMemory,
    room: u64,
    seed: u64,
    watch: &mut Watch<'_>,
) -> Result<ControlFlow<()>, String> {
    let mut random = Random::new(seed, 5);
    for storm in &STORMS {
        let mut come: [Figure; 3] = core::array::from_fn(|way| {
            let part = storm.ways.get(way).map_or("", |(_, part)| part);
            Figure { faults: Some(0), ..storm.figure(part) }
        });
        let come = &mut come[..storm.ways.len()];
        let mut go = storm.figure(storm.give_back);
        let before = memory.settled_free_bytes();
        let free_room = before.map_or(BYTES_MAX, |free| free / FREE_ONE_IN);
        let ended = storm.run(memory, room.min(free_room).min(BYTES_MAX), &mut random, come, &mut go, watch);
        let after = memory.settled_free_bytes();
        come.iter().cloned().for_each(|figure| watch.report(figure));
        watch.report(go);
        let ended = ended.map_err(|error| storm.told(error))?;
        // Where words are wrong, what is told of them takes memory, too.
        if let Some((before, after)) = before.zip(after)
            && before != after
            && watch.wrong_words() == 0
        {
            return Err(alloc::format!(
                "{}: {before} bytes were free before, and {after} are now",
                storm.give_back
            ));
        }
        if ended.is_break() {
            return Ok(ended);
        }
    }
    Ok(ControlFlow::Continue(()))
}

impl Storm {
    fn figure(&self, part: &str) -> Figure {
        let pages = Some(Pages { count: 1, page_bytes: self.page.len_bytes() });
        Figure { pages, ..Figure::new(part) }
    }

    fn told(&self, error: MapError) -> String {
        let part = self.ways[0].1;
        match error {
            MapError::NoRoom => alloc::format!("{part}: no room where none is needed"),
            MapError::Refused(why) => alloc::format!("{part}: {why}"),
        }
    }

    /// All rounds, in buffers that go at the end. A figure for each way, and one for giving back.
    fn run(
        &self,
        memory: &impl DemandMemory,
        room: u64,
        random: &mut Random,
        come: &mut [Figure],
        go: &mut Figure,
        watch: &mut Watch<'_>,
    ) -> Result<ControlFlow<()>, MapError> {
        let mut buffers = Buffers::take(memory, self.page, self.buffer_len, room)?;
        if buffers.len_bytes() == 0 {
            come.iter_mut().for_each(|figure| figure.count(false));
            go.count(false);
            return Ok(ControlFlow::Continue(()));
        }
        let rounds = |bytes: u64| bytes.div_ceil(buffers.len_bytes()).clamp(1, ROUNDS_MAX);
        let (untimed, timed) = (rounds(self.untimed_bytes), rounds(ROUNDS_BYTES));
        for _ in 0..untimed {
            let [mut come, mut go] = [(); 2].map(|()| Figure::new(""));
            let bytes = buffers.round(Way::Prefault, random.word(), [&mut come, &mut go], watch)?;
            if watch.progress(bytes).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        for _ in 0..timed {
            for ((way, _), come) in self.ways.iter().zip(come.iter_mut()) {
                let mut untimed = Figure::new("");
                // Where not all pages came, fewer are quicker to go.
                let go = if *way == Way::TouchSparse { &mut untimed } else { &mut *go };
                let bytes = buffers.round(*way, random.word(), [come, go], watch)?;
                if watch.progress(bytes).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
