//! A frame has one owner.

use unikernel::memory::frame::Frame;
use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::Machine;

fn two<M: Machine>(frame: Frame<Size4KiB, M>) -> [Frame<Size4KiB, M>; 2] {
    [frame.clone(), frame]
}

fn main() {}
