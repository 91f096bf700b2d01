//! The two kinds whose leaves own nothing, made alike but different types: neither goes where the other belongs.

use super::attributes::{KernelAccess, MmioAttributes};
use super::error::Error;
use super::level::LeafSize;
use super::machine::TableMemory;
use super::ownership::{Backing, Leaf, LeafRun, Ownership, sealed};
use crate::memory::PAGE_LEN;
use crate::memory::address::PhysAddr;
use crate::memory::frame::FrameSource;
use crate::memory::kind::Kind;
use crate::memory::page_size::{Divisible, PARTS};
use core::marker::PhantomData;

/// Device registers: leaves own nothing.
#[derive(Debug)]
pub enum Mmio {}
/// Kernel windows: leaves own nothing.
#[derive(Debug)]
pub enum Kva {}

macro_rules! untracked {
    ($kind:ident, $value:expr, $attributes:ty, $leaf:ident, $run:ident, $what:literal, $check:path) => {
        #[doc = concat!("One leaf that maps ", $what, ", and owns nothing.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $leaf<S: LeafSize> {
            phys: PhysAddr,
            /// The allocator that says what is RAM.
            checked_by: u64,
            size: PhantomData<S>,
        }

        #[doc = concat!("Contiguous leaves that map ", $what, ", and own nothing.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $run<S: LeafSize> {
            start: PhysAddr,
            count: u64,
            /// The allocator that says what is RAM.
            checked_by: u64,
            size: PhantomData<S>,
        }

        impl<S: LeafSize> $run<S> {
            #[doc = concat!("`count` leaves from physical address `start` on, which is ", $what, ".")]
            ///
            /// # Errors
            /// [`Error::BadPhysicalRange`], [`Error::IsRam`], [`Error::NotRam`].
            pub fn new<M: TableMemory>(machine: &M, start: PhysAddr, count: u64) -> Result<Self, Error> {
                let len_bytes = count.saturating_mul(S::LEN_BYTES);
                let exists = start
                    .checked_add(len_bytes)
                    .is_some_and(|end| end.as_u64() <= 1 << machine.paging().physical_address_bits);
                if !exists || len_bytes == 0 || !start.is_aligned(S::LEN_BYTES) {
                    return Err(Error::BadPhysicalRange { start, len_bytes, align_bytes: S::LEN_BYTES });
                }
                $check(machine, start, len_bytes)?;
                Ok(Self { start, count, checked_by: machine.frames().id(), size: PhantomData })
            }

            /// The leaf at `index`, if there are so many.
            #[must_use]
            #[inline]
            pub fn leaf(&self, index: u64) -> Option<$leaf<S>> {
                let phys = PhysAddr::new(self.start.as_u64() + index.min(self.count) * S::LEN_BYTES);
                (index < self.count).then_some($leaf { phys, checked_by: self.checked_by, size: PhantomData })
            }
        }

        impl sealed::Sealed for $kind {}

        impl Ownership for $kind {
            const KIND: Kind = $value;
            type Attributes = $attributes;
            type Leaf<S: LeafSize, M: FrameSource> = $leaf<S>;
            type Run<S: LeafSize, M: FrameSource> = $run<S>;

            fn split<S, M: FrameSource>(leaf: $leaf<S>) -> $run<S::Part>
            where
                S: LeafSize + Divisible<Part: LeafSize>,
            {
                $run { start: leaf.phys, count: PARTS, checked_by: leaf.checked_by, size: PhantomData }
            }

            fn merge<S, M: FrameSource>(run: $run<S::Part>) -> Result<$leaf<S>, $run<S::Part>>
            where
                S: LeafSize + Divisible<Part: LeafSize>,
            {
                let whole = run.count == PARTS && run.start.is_aligned(S::LEN_BYTES);
                let leaf = $leaf { phys: run.start, checked_by: run.checked_by, size: PhantomData };
                if whole { Ok(leaf) } else { Err(run) }
            }
        }

        impl<S: LeafSize, M: FrameSource> Leaf<M> for $leaf<S> {
            #[inline]
            fn is_of(&self, machine: &M) -> bool {
                self.checked_by == machine.frames().id()
            }

            #[inline]
            fn into_phys(self) -> PhysAddr {
                self.phys
            }

            #[inline]
            unsafe fn from_phys(machine: M, phys: PhysAddr) -> Self {
                Self { phys, checked_by: machine.frames().id(), size: PhantomData }
            }
        }

        impl<S: LeafSize, M: FrameSource> LeafRun<M> for $run<S> {
            #[inline]
            fn count(&self) -> u64 {
                self.count
            }

            #[inline]
            fn into_phys(self) -> PhysAddr {
                self.start
            }

            #[inline]
            unsafe fn from_phys(machine: M, start: PhysAddr, count: u64) -> Self {
                Self { start, count, checked_by: machine.frames().id(), size: PhantomData }
            }
        }

        impl<S: LeafSize> sealed::Backing for $leaf<S> {}
        impl<S: LeafSize> sealed::Backing for $run<S> {}

        impl<S: LeafSize, M: FrameSource> Backing<$kind, S, M> for $leaf<S> {
            #[inline]
            fn count(&self) -> u64 {
                1
            }

            #[inline]
            fn is_of(&self, machine: &M) -> bool {
                self.checked_by == machine.frames().id()
            }

            #[inline]
            fn take(self, _: u64) -> ($run<S>, Option<Self>) {
                ($run { start: self.phys, count: 1, checked_by: self.checked_by, size: PhantomData }, None)
            }
        }

        impl<S: LeafSize, M: FrameSource> Backing<$kind, S, M> for $run<S> {
            #[inline]
            fn count(&self) -> u64 {
                self.count
            }

            #[inline]
            fn is_of(&self, machine: &M) -> bool {
                self.checked_by == machine.frames().id()
            }

            #[inline]
            fn take(self, max: u64) -> ($run<S>, Option<Self>) {
                let count = self.count.min(max);
                let start = PhysAddr::new(self.start.as_u64() + count * S::LEN_BYTES);
                let rest = Self { start, count: self.count - count, ..self };
                (Self { count, ..self }, (rest.count > 0).then_some(rest))
            }
        }
    };
}

untracked!(Mmio, Kind::Mmio, MmioAttributes, MmioLeaf, MmioRun, "device registers", no_ram);
untracked!(Kva, Kind::Kva, KernelAccess, KvaLeaf, KvaRun, "RAM that others own", all_ram);

/// Device registers share no page with RAM: there would be two cache types for it.
fn no_ram<M: FrameSource>(machine: &M, start: PhysAddr, len_bytes: u64) -> Result<(), Error> {
    let count = len_bytes / PAGE_LEN;
    let free_of_ram = machine.frames().is_hole(start.frame_number(), count);
    if free_of_ram { Ok(()) } else { Err(Error::IsRam { start, len_bytes }) }
}

/// Kernel windows show RAM, never holes or devices.
fn all_ram<M: FrameSource>(machine: &M, start: PhysAddr, len_bytes: u64) -> Result<(), Error> {
    let count = len_bytes / PAGE_LEN;
    let is_ram = machine.frames().is_ram(start.frame_number(), count);
    if is_ram { Ok(()) } else { Err(Error::NotRam { start, len_bytes }) }
}
