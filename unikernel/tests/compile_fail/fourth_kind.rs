//! There are three ownership kinds, and no others.

use unikernel::memory::frame::{Frame, FrameRun, FrameSource};
use unikernel::memory::kind::Kind;
use unikernel::memory::page_size::Divisible;
use unikernel::memory::page_table::Ownership;
use unikernel::memory::page_table::attributes::DataAccess;
use unikernel::memory::page_table::level::LeafSize;

enum Fourth {}

impl Ownership for Fourth {
    const KIND: Kind = Kind::Tracked;
    type Attributes = DataAccess;
    type Leaf<S: LeafSize, M: FrameSource> = Frame<S, M>;
    type Run<S: LeafSize, M: FrameSource> = FrameRun<S, M>;

    fn split<S, M: FrameSource>(leaf: Frame<S, M>) -> FrameRun<S::Part, M>
    where
        S: LeafSize + Divisible<Part: LeafSize>,
    {
        leaf.split()
    }

    fn merge<S, M: FrameSource>(run: FrameRun<S::Part, M>) -> Result<Frame<S, M>, FrameRun<S::Part, M>>
    where
        S: LeafSize + Divisible<Part: LeafSize>,
    {
        run.merge()
    }
}

fn main() {}
