//! No frame is taken out of what was not flushed.

use unikernel::memory::address::VirtAddr;
use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::{Detached, Machine, Tracked};

fn take<M: Machine>(mut detached: Detached<Tracked, M>, at: VirtAddr) {
    let _ = detached.take_frame::<Size4KiB>(at);
}

fn main() {}
