//! What mappings are made from is the core's: a backing that lied about its length would write into a neighbour's range.

use unikernel::memory::frame::{FrameRun, FrameSource};
use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::{Backing, Tracked};

struct Longer<M: FrameSource>(FrameRun<Size4KiB, M>);

impl<M: FrameSource> Backing<Tracked, Size4KiB, M> for Longer<M> {
    fn count(&self) -> u64 {
        1
    }

    fn is_of(&self, _: &M) -> bool {
        true
    }

    fn take(self, _: u64) -> (FrameRun<Size4KiB, M>, Option<Self>) {
        (self.0, None)
    }
}

fn main() {}
