//! Telling the allocator which frames are RAM, and which of them it may hand out.

use super::FrameAllocator;
use super::state::FrameState;
use super::state_bytes::{fill, first_other_than};
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
    /// A frame was registered before, or was not reserved where that was said.
    Unexpected {
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
    /// 4. Nobody asks for the use of these frames meanwhile.
    pub unsafe fn add(&self, first_frame: u64, count: u64) -> Result<(), RegisterError> {
        // SAFETY: 2 and 4.
        unsafe { self.change(first_frame, count, FrameState::Hole, FrameState::Unmapped) }?;
        let (mut first, mut count) = (first_frame, count);
        if first == 0 && count > 0 {
            self.set_state(0, FrameState::Reserved);
            (first, count) = (1, count - 1);
        }
        self.pool.release(first, count);
        self.total.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// Makes holes into RAM that is never handed out.
    ///
    /// # Errors
    /// [`RegisterError`] if a frame is beyond the end or not a hole.
    ///
    /// # Safety
    /// As for 2 to 4 of [`FrameAllocator::add`].
    pub unsafe fn reserve(&self, first_frame: u64, count: u64) -> Result<(), RegisterError> {
        // SAFETY: 2 and 4.
        unsafe { self.change(first_frame, count, FrameState::Hole, FrameState::Reserved) }
    }

    /// Makes reserved frames free: RAM that is known before it can be handed out.
    ///
    /// # Errors
    /// [`RegisterError`] if a frame is beyond the end or not reserved.
    ///
    /// # Safety
    /// As for [`FrameAllocator::add`]; frame 0 is not among them.
    pub unsafe fn release_reserved(&self, first_frame: u64, count: u64) -> Result<(), RegisterError> {
        // SAFETY: 2 and 4.
        unsafe { self.change(first_frame, count, FrameState::Reserved, FrameState::Unmapped) }?;
        self.pool.release(first_frame, count);
        self.total.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// Gives frames another state, all of which must have the first.
    ///
    /// # Safety
    /// Nobody looks at the states of these frames, or changes them, meanwhile.
    unsafe fn change(
        &self,
        first_frame: u64,
        count: u64,
        from: FrameState,
        to: FrameState,
    ) -> Result<(), RegisterError> {
        let states = self.states_of(first_frame, count);
        if states.len() as u64 != count {
            let frame_count = self.frame_count();
            return Err(RegisterError::BeyondTheEnd { first_frame, count, frame_count });
        }
        // SAFETY: by the caller's promise nobody looks at these states meanwhile.
        if let Some(index) = unsafe { first_other_than(states, from.encode()) } {
            let frame = first_frame + index as u64;
            return Err(RegisterError::Unexpected { frame, state: self.state(frame) });
        }
        // SAFETY: as above.
        unsafe { fill(states, to.encode()) };
        if from == FrameState::Hole {
            self.known_ram.note(first_frame, count);
        }
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
            Self::Unexpected { frame, state } => {
                write!(
                    formatter,
                    "frame {frame} is {state} already; register each frame once, and release what is reserved once"
                )
            }
        }
    }
}

impl core::error::Error for RegisterError {}
