//! How an owned frame finds the allocator that it goes back to, and the CPU it is used on.

use super::FrameAllocator;

/// A small handle to the machine that frames belong to. Every owned frame carries one; in the guest it has no size.
///
/// # Safety
/// The implementer promises:
/// 1. A handle and every copy of it always lead to the same allocator.
/// 2. [`cpu`](Self::cpu) is below [`FrameAllocator::cpus`], and no two threads of execution that can run at the same
///    time get the same index. A handler that interrupts a CPU gets the index of that CPU, and ends before what it
///    interrupted goes on.
pub unsafe trait FrameSource: Copy {
    /// The allocator.
    fn frames(&self) -> &FrameAllocator<'_>;

    /// Index of the CPU that runs this.
    fn cpu(&self) -> usize;
}

/// Whether both handles lead to the same allocator.
#[inline]
pub(crate) fn same_allocator<M: FrameSource>(one: &M, other: &M) -> bool {
    one.frames().id() == other.frames().id()
}
