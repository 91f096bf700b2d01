//! The ownership kinds, each with leaves of its own type.
//!
//! What freeing does is decided here and by the compiler: a [`Tracked`] leaf is a [`Frame`], which gives its memory back
//! when it is dropped; [`MmioLeaf`](super::MmioLeaf) and [`KvaLeaf`](super::KvaLeaf) have nothing to drop. No value says so, hence none can say it wrongly.

use super::attributes::{Attributes, DataAccess};
use super::level::LeafSize;
use crate::memory::address::PhysAddr;
use crate::memory::frame::{Frame, FrameRun, FrameSource, FrameState, same_allocator};
use crate::memory::kind::Kind;
use crate::memory::page_size::{Divisible, PARTS};

pub(super) mod sealed {
    pub trait Sealed {}
    /// Operations rely on how much a backing says that it holds.
    pub trait Backing {}
}

/// What the leaves of a subtree own. There are three kinds, and no others.
pub trait Ownership: sealed::Sealed + Sized + 'static {
    /// The kind as a value, for printing and the audit.
    const KIND: Kind;
    /// What its mappings can allow.
    type Attributes: Attributes;
    /// What one entry holds.
    type Leaf<S: LeafSize, M: FrameSource>: Leaf<M>;
    /// What neighbouring entries hold whose memory is contiguous.
    type Run<S: LeafSize, M: FrameSource>: LeafRun<M>;

    /// A leaf as the run of its parts.
    fn split<S, M: FrameSource>(leaf: Self::Leaf<S, M>) -> Self::Run<S::Part, M>
    where
        S: LeafSize + Divisible<Part: LeafSize>;

    /// The parts of a leaf as that leaf.
    ///
    /// # Errors
    /// The run, if it is not of 512 parts or not aligned.
    fn merge<S, M: FrameSource>(run: Self::Run<S::Part, M>) -> Merged<Self, S, M>
    where
        S: LeafSize + Divisible<Part: LeafSize>;
}

/// A leaf made of its parts, or the parts.
pub type Merged<O, S, M> =
    Result<<O as Ownership>::Leaf<S, M>, <O as Ownership>::Run<<S as Divisible>::Part, M>>;

/// Application heap: leaves own their frames.
#[derive(Debug)]
pub enum Tracked {}

/// What a leaf entry holds, as a value.
pub trait Leaf<M>: Sized {
    /// Whether what it owns, if anything, belongs to this machine.
    fn is_of(&self, machine: &M) -> bool;

    /// Gives what it owns over to an entry, which has to hold this address.
    fn into_phys(self) -> PhysAddr;

    /// Takes it back.
    ///
    /// # Safety
    /// The address comes from [`Leaf::into_phys`] of this type, once, or from [`LeafRun::into_phys`] as one of its parts;
    /// the entry that held it is gone.
    unsafe fn from_phys(machine: M, phys: PhysAddr) -> Self;
}

/// What contiguous leaf entries hold, as a value.
pub trait LeafRun<M>: Sized {
    /// How many leaves.
    fn count(&self) -> u64;

    /// Gives what they own over to as many entries; the first has to hold this address, and so on by the leaves' size.
    fn into_phys(self) -> PhysAddr;

    /// Takes it back.
    ///
    /// # Safety
    /// As for [`Leaf::from_phys`], for each of the leaves.
    unsafe fn from_phys(machine: M, start: PhysAddr, count: u64) -> Self;
}

/// What a mapping is made from: leaves, runs of them, or batches of runs.
pub trait Backing<O: Ownership, S: LeafSize, M: FrameSource>: sealed::Backing + Sized {
    /// How many leaves it makes.
    fn count(&self) -> u64;

    /// Whether what it owns, if anything, belongs to this machine.
    fn is_of(&self, machine: &M) -> bool;

    /// Takes out a run of `1..=max` leaves; gives back the rest, if any.
    fn take(self, max: u64) -> (O::Run<S, M>, Option<Self>);
}

impl sealed::Sealed for Tracked {}

impl Ownership for Tracked {
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

/// The state that the first frame of a leaf of size `S` has.
const fn leaf_state<S: LeafSize>() -> FrameState {
    match S::FRAMES {
        1 => FrameState::Leaf4KiB,
        PARTS => FrameState::Leaf2MiB,
        _ => FrameState::Leaf1GiB,
    }
}

/// Notes the state of `count` leaves in their first frames.
#[inline]
fn note<S: LeafSize, M: FrameSource>(machine: &M, start: PhysAddr, count: u64, state: FrameState) {
    let frames = machine.frames();
    if S::FRAMES == 1 {
        return frames.set_states(start.frame_number(), count, state);
    }
    for leaf in 0..count {
        frames.set_state(start.frame_number() + leaf * S::FRAMES, state);
    }
}

impl<S: LeafSize, M: FrameSource> Leaf<M> for Frame<S, M> {
    #[inline]
    fn is_of(&self, machine: &M) -> bool {
        same_allocator(&self.machine(), machine)
    }

    #[inline]
    fn into_phys(self) -> PhysAddr {
        note::<S, M>(&self.machine(), self.start(), 1, leaf_state::<S>());
        self.into_raw()
    }

    #[inline]
    unsafe fn from_phys(machine: M, phys: PhysAddr) -> Self {
        note::<S, M>(&machine, phys, 1, FrameState::Unmapped);
        // SAFETY: by the caller's promise the frame was given over by `into_raw`, and nothing else holds it.
        unsafe { Self::from_raw(machine, phys) }
    }
}

impl<S: LeafSize, M: FrameSource> LeafRun<M> for FrameRun<S, M> {
    #[inline]
    fn count(&self) -> u64 {
        Self::count(self)
    }

    #[inline]
    fn into_phys(self) -> PhysAddr {
        note::<S, M>(&self.machine(), self.start(), Self::count(&self), leaf_state::<S>());
        self.into_raw()
    }

    #[inline]
    unsafe fn from_phys(machine: M, start: PhysAddr, count: u64) -> Self {
        note::<S, M>(&machine, start, count, FrameState::Unmapped);
        // SAFETY: by the caller's promise each frame was given over by `into_raw`, and nothing else holds them.
        unsafe { Self::from_raw(machine, start, count) }
    }
}
