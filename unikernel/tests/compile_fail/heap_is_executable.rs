//! Heap can't be made executable.

use unikernel::memory::page_table::attributes::KernelAccess;
use unikernel::memory::page_table::{Machine, Tracked, VaRange};

fn protect<M: Machine>(range: VaRange<Tracked, M>) {
    let _ = range.protect(KernelAccess::ReadExecute);
}

fn main() {}
