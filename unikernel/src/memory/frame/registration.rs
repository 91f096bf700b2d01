//! Telling the allocator which frames are RAM, and which of them it may hand out.

use super::FrameAllocator;
use super::state::FrameState;
use crate::memory::atomic::Ordering;
use core::fmt;

/// Frames that can't be registered. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// There are no arrays for frames this high.
    BeyondTheEnd {
        /// The first frame that was named.
        first_frame: u64,
        /// How many.
        count: u64,
        /// The frame number at which the arrays end.
        frame_count: u64,
    },
    /// A frame was registered before.
    NotAHole {
        /// Its number.
        frame: u64,
        /// As what.
        state: FrameState,
    },
}

impl FrameAllocator<'_> {
    /// Makes holes into free frames. Frame 0 becomes [`FrameState::Reserved`] instead, since a null pointer must not
    /// lead to anything.
    ///
    /// # Errors
    /// [`RegisterError`] if a frame is beyond the end or not a hole.
    ///
    /// # Safety
    /// 1. The frames are RAM that nobody uses.
    /// 2. Nobody else registers frames at the same time.
    /// 3. They are not mapped as device registers.
    pub unsafe fn add(&self, first_frame: u64, count: u64) -> Result<(), RegisterError> {
        self.register(first_frame, count, FrameState::Unmapped)?;
        let (mut first, mut count) = (first_frame, count);
        if first == 0 && count > 0 {
            self.set_state(0, FrameState::Reserved);
            (first, count) = (1, count - 1);
        }
        self.pool.bitmap.release(first, count);
        self.total.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// Makes holes into RAM that is never handed out.
    ///
    /// # Errors
    /// [`RegisterError`] if a frame is beyond the end or not a hole.
    ///
    /// # Safety
    /// As for 2 and 3 of [`FrameAllocator::add`].
    pub unsafe fn reserve(&self, first_frame: u64, count: u64) -> Result<(), RegisterError> {
        self.register(first_frame, count, FrameState::Reserved)
    }

    fn register(&self, first_frame: u64, count: u64, state: FrameState) -> Result<(), RegisterError> {
        let states = self.states_of(first_frame, count);
        if states.len() as u64 != count {
            let frame_count = self.frame_count();
            return Err(RegisterError::BeyondTheEnd { first_frame, count, frame_count });
        }
        let hole = FrameState::Hole.encode();
        if let Some(index) = states.iter().position(|state| state.load(Ordering::Relaxed) != hole) {
            let frame = first_frame + index as u64;
            return Err(RegisterError::NotAHole { frame, state: self.state(frame) });
        }
        self.set_states(first_frame, count, state);
        Ok(())
    }
}

impl fmt::Display for RegisterError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeyondTheEnd { first_frame, count, frame_count } => write!(
                formatter,
                "{count} frames from number {first_frame} on end beyond the {frame_count} that the allocator was made for"
            ),
            Self::NotAHole { frame, state } => {
                write!(
                    formatter,
                    "frame {frame} was registered before, and is {state:?}; register each frame once"
                )
            }
        }
    }
}

impl core::error::Error for RegisterError {}
