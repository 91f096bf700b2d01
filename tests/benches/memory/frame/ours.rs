//! The frame allocator of this repository.

use super::two_cpus::Shared;
use super::{Blocks, Large, Run, Small, Source};
use crate::Result;
use crate::arena::{Arena, FRAMES};
use crate::simulation::{FrameCpu, Frames, frames};
use unikernel::memory::frame::{Frame, FrameRun};
use unikernel::memory::page_size::{Size2MiB, Size4KiB};

/// One CPU of a machine without an address space.
pub(super) struct Ours(&'static Frames);

/// The same, as a contestant uses it.
pub(super) struct OnCpu(FrameCpu);

macro_rules! blocks {
    ($size:ty, $block:ty, |$cpu:ident| $take:expr) => {
        impl Blocks<$size> for OnCpu {
            type Block = $block;

            #[inline]
            fn take(&mut self) -> Option<$block> {
                let $cpu = self.0;
                $take.ok()
            }

            #[inline]
            fn give(&mut self, block: $block) {
                drop(block);
            }
        }

        impl Source<$size> for OnCpu {
            fn name() -> String {
                "ours".to_owned()
            }

            fn new(_: Arena) -> Result<Self> {
                Ok(Self(frames(&FRAMES)?.cpu()?))
            }
        }
    };
}

blocks!(Small, Frame<Size4KiB, FrameCpu>, |cpu| Frame::allocate(cpu));
blocks!(Large, Frame<Size2MiB, FrameCpu>, |cpu| Frame::allocate(cpu));
blocks!(Run, FrameRun<Size4KiB, FrameCpu>, |cpu| FrameRun::allocate(cpu, 512));

impl Shared for Ours {
    type Cpu<'a> = OnCpu;

    fn name() -> String {
        "ours".to_owned()
    }

    fn new(_: Arena) -> Result<Self> {
        Ok(Self(frames(&FRAMES)?))
    }

    fn cpu(&self, _: usize) -> OnCpu {
        match self.0.cpu() {
            Ok(cpu) => OnCpu(cpu),
            Err(error) => unreachable!("each thread asks once: {error}"),
        }
    }
}
