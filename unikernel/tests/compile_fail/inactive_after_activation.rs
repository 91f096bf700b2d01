//! An address space that was loaded is flushed by shootdowns.

use unikernel::memory::address_space::Inactive;
use unikernel::memory::page_table::{Detached, Machine, Tracked};

fn flush<M: Machine>(inactive: Inactive, detached: Detached<Tracked, M>) {
    let _root = inactive.activate();
    let _ = inactive.flush(detached);
}

fn main() {}
