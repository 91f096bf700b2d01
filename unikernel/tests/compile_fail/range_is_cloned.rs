//! A range has one owner.

use unikernel::memory::page_table::{Machine, Tracked, VaRange};

fn two<M: Machine>(range: VaRange<Tracked, M>) -> [VaRange<Tracked, M>; 2] {
    [range.clone(), range]
}

fn main() {}
