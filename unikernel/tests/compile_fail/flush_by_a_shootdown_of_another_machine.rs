//! A shootdown is for machines of one type: that of the simulation flushes nothing of any other.

use unikernel::memory::page_table::{Detached, Flushed, Machine, Tracked, flush};
use unikernel::memory::simulation::NoTlb;

fn free<M: Machine>(detached: Detached<Tracked, M>) -> Flushed<Detached<Tracked, M>> {
    flush(detached, &NoTlb::default())
}

fn main() {}
