//! Others that want frames.

use super::operation::Hold;
use unikernel::memory::frame::{Frame, FrameBatch, FrameCredit, FrameRun, FrameSource};
use unikernel::memory::page_size::{Size2MiB, Size4KiB};
use unikernel::memory::simulation::SimulatedCpu;

type Cpu<'a> = SimulatedCpu<'a>;

/// What somebody else holds, until it is dropped.
pub(super) enum Held<'a> {
    Batch(#[expect(dead_code, reason = "it is held")] FrameBatch<Size4KiB, Cpu<'a>>),
    Run(#[expect(dead_code, reason = "it is held")] FrameRun<Size4KiB, Cpu<'a>>),
    Large(#[expect(dead_code, reason = "it is held")] Frame<Size2MiB, Cpu<'a>>),
    Credit(FrameCredit<Cpu<'a>>, Vec<Frame<Size4KiB, Cpu<'a>>>),
}

impl<'a> Held<'a> {
    /// Takes what there is. Frames that nobody was promised can be had one by one.
    pub(super) fn take(cpu: Cpu<'a>, hold: Hold, free_frames: u64) -> Option<Self> {
        let batch = |frames| {
            let batch = FrameBatch::allocate(cpu, frames);
            assert_eq!(batch.is_ok(), frames <= free_frames, "{frames} of {free_frames} frames");
            batch.ok().map(Self::Batch)
        };
        let credit = |frames| {
            let credit = FrameCredit::reserve(cpu, frames);
            assert_eq!(
                credit.is_ok(),
                frames <= free_frames,
                "a promise of {frames} of {free_frames} frames"
            );
            credit.ok().map(|credit| Self::Credit(credit, Vec::new()))
        };
        match hold {
            Hold::Batch(frames) => batch(frames),
            Hold::BatchBut(spare) => batch(free_frames.saturating_sub(spare)),
            Hold::Credit(frames) => credit(frames),
            Hold::CreditBut(spare) => credit(free_frames.saturating_sub(spare)),
            Hold::Run(frames) => FrameRun::allocate(cpu, frames).ok().map(Self::Run),
            Hold::Large => Frame::allocate(cpu).ok().map(Self::Large),
        }
    }

    /// Frames that are promised to it.
    pub(super) fn promised(&self) -> u64 {
        match self {
            Self::Credit(credit, _) => credit.frames(),
            _ => 0,
        }
    }

    /// Takes some that are promised.
    pub(super) fn redeem(&mut self, frames: u64) {
        let Self::Credit(credit, taken) = self else { return };
        for _ in 0..frames.min(credit.frames()) {
            let free = credit.machine().frames().statistics().free;
            match credit.take() {
                Some(frame) => taken.push(frame),
                None => panic!("a frame that was promised is not there, and {free} are free"),
            }
        }
    }
}
