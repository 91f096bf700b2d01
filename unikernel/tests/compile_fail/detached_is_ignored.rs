//! What was taken out is flushed, not ignored.
#![deny(unused_must_use)]

use unikernel::memory::page_table::{Machine, Tracked, VaRange};

fn trim<M: Machine>(range: VaRange<Tracked, M>) {
    range.trim();
}

fn main() {}
