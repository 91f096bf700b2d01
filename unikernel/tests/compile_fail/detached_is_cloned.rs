//! What was taken out goes back once.

use unikernel::memory::page_table::{Detached, Machine, Tracked};

fn two<M: Machine>(detached: Detached<Tracked, M>) -> [Detached<Tracked, M>; 2] {
    [detached.clone(), detached]
}

fn main() {}
