//! What was taken out is not freed before the flush.

use unikernel::memory::page_table::{Detached, Machine, Tracked, VaRange};

fn free<M: Machine>(detached: Detached<Tracked, M>) -> VaRange<Tracked, M> {
    detached.release()
}

fn main() {}
