//! `just bench heap`: the global allocator against its peers, in one process by turns. Nothing fails for being slow, but
//! a contestant that does its work wrongly ends the run.
//!
//! Contestants that manage memory themselves start each turn anew, over the same memory of huge pages, all of it touched
//! before; the allocators of the process go on with what they have. What is timed has no random numbers in it, and one
//! write to each block, as nobody allocates what is not used.
//!
//! Then the pages below an allocator: those of the guest come on demand, as those of a process do.

mod contestants;
mod faults;
mod work;

use contestants::{Arena, Contestant, LinkedList, Mimalloc, Ours, Process, Talc};
use std::error::Error;
use std::process::ExitCode;
use system_tests::contest::{self, Contest, Reach, Role, Work};
use work::Traces;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench heap: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let arena = Arena::map()?;
    println!("medians of {} passes by turns, in nanoseconds", contest::PASSES);
    let traces = Traces::new();
    let mut contest = Contest::new([
        Work {
            title: "replacing one of 10,000 blocks of 16 to 256 B, an allocation or a deallocation",
            reach: Reach::Under(8.0),
        },
        Work {
            title: "replacing one of 2,000 blocks of 16 B to 64 KiB, log-uniform, an allocation or a deallocation",
            reach: Reach::Under(30.0),
        },
        Work { title: "growing a vector to 1,000,000 numbers of 8 B, an element", reach: Reach::Under(0.4) },
    ]);
    enter::<Ours>(&mut contest, Role::Ours, &arena, &traces);
    enter::<LinkedList>(&mut contest, Role::Peer, &arena, &traces);
    enter::<Talc>(&mut contest, Role::Peer, &arena, &traces);
    enter::<Process>(&mut contest, Role::Peer, &arena, &traces);
    enter::<Mimalloc>(&mut contest, Role::Peer, &arena, &traces);
    contest.hold()?;
    faults::measure()
}

fn enter<'a, C: Contestant>(contest: &mut Contest<'a, 3>, role: Role, arena: &'a Arena, traces: &'a Traces) {
    contest.enter(role, C::NAME, move || {
        Ok([
            work::replace(&C::new(arena)?, &traces.small)?,
            work::replace(&C::new(arena)?, &traces.mixed)?,
            work::grow(&C::new(arena)?)?,
        ])
    });
}
