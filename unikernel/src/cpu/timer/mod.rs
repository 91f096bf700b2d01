//! Timers: functions that are called when a time has passed.
//!
//! | file | about |
//! |---|---|
//! | `queue` | what is due when |
//! | `alarm` | the hardware, set to what is due first |
//!
//! The alarm stays set where its deadline has no timer any more; it then goes off for nothing.

mod alarm;
mod queue;

pub use alarm::{Alarm, BadAlarm, CountRate};

use super::clock::{self, Instant};
use super::per_cpu::this_cpu;
use core::fmt;
use core::time::Duration;
use queue::{Callback, Id, Queue};

/// How many timers there can be at a time.
pub const TIMERS_MAX: usize = 32;

/// A deadline that never comes.
const NEVER: u64 = u64::MAX;

/// A function that will be called once, unless this is dropped before.
#[derive(Debug)]
#[must_use = "dropping a timer cancels it"]
pub struct Timer {
    id: Id,
}

/// Why there is no timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerError {
    /// There are [`TIMERS_MAX`] already.
    TooMany,
    /// Nothing would call.
    Unusable(BadAlarm),
}

impl fmt::Display for TimerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(formatter, "there are {TIMERS_MAX} timers already: drop one first"),
            Self::Unusable(cause) => write!(formatter, "no timers: {cause}"),
        }
    }
}

impl core::error::Error for TimerError {}

impl From<BadAlarm> for TimerError {
    fn from(error: BadAlarm) -> Self {
        Self::Unusable(error)
    }
}

impl Timer {
    /// Calls `function` with `argument` once `delay` has passed; see [`Timer::at`].
    ///
    /// # Errors
    /// [`TimerError`].
    pub fn after(delay: Duration, function: fn(usize), argument: usize) -> Result<Self, TimerError> {
        Self::at(Instant::now() + delay, function, argument)
    }

    /// Calls `function` with `argument` once a moment has come, never before. Timers of one moment come by their age.
    ///
    /// It is called by an interrupt: on the stack of whatever runs, with interrupts masked, between any two instructions. So
    /// it must be short, and must neither allocate, print, nor take a lock that is ever held unmasked: what is interrupted
    /// may hold it, and would never go on. It may use atomics, and make and cancel timers.
    ///
    /// # Errors
    /// [`TimerError`].
    pub fn at(moment: Instant, function: fn(usize), argument: usize) -> Result<Self, TimerError> {
        let deadline = moment.ticks().min(NEVER - 1);
        this_cpu().timers.with(|timers| {
            timers.find_alarm()?;
            let id = timers.queue.insert(deadline, Callback { function, argument });
            let id = id.ok_or(TimerError::TooMany)?;
            timers.set_alarm();
            Ok(Self { id })
        })
    }

    /// Cancels it; whether that was in time.
    pub fn cancel(self) -> bool {
        let was_in_time = self.remove();
        core::mem::forget(self);
        was_in_time
    }

    fn remove(&self) -> bool {
        this_cpu().timers.with(|timers| timers.queue.remove(self.id))
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.remove();
    }
}

/// How timers of this CPU are woken; finds it out at the first call.
///
/// # Errors
/// [`BadAlarm`].
pub fn alarm() -> Result<Alarm, BadAlarm> {
    this_cpu().timers.with(Timers::find_alarm)
}

/// The timers of a CPU.
#[derive(Debug)]
pub(super) struct Timers {
    queue: Queue<TIMERS_MAX>,
    /// TSC at which a [sleep](super::sleep) ends.
    wake: u64,
    /// None before the first use.
    alarm: Option<Result<Alarm, BadAlarm>>,
    /// Deadline that the alarm is set to, as long as it has not gone off.
    set_to: u64,
}

impl Timers {
    pub(super) const fn new() -> Self {
        Self { queue: Queue::new(), wake: NEVER, alarm: None, set_to: NEVER }
    }

    fn find_alarm(&mut self) -> Result<Alarm, BadAlarm> {
        *self.alarm.get_or_insert_with(Alarm::find)
    }

    /// Sets the alarm to what comes first, unless it goes off before that anyway.
    fn set_alarm(&mut self) {
        let deadline = self.queue.earliest().unwrap_or(NEVER).min(self.wake);
        if let Some(Ok(alarm)) = self.alarm
            && deadline < self.set_to
        {
            alarm.set(deadline);
            self.set_to = deadline;
        }
    }
}

/// Has an interrupt come once the TSC has reached `deadline`, in place of what was asked for before.
pub(super) fn wake_at(deadline: u64) -> Result<(), BadAlarm> {
    this_cpu().timers.with(|timers| {
        timers.find_alarm()?;
        timers.wake = deadline.min(NEVER - 1);
        timers.set_alarm();
        Ok(())
    })
}

/// Handles the interrupt of the alarm: calls what is due. What gets due meanwhile has an interrupt of its own.
pub(super) fn interrupt() {
    let timers = &this_cpu().timers;
    let now = clock::ticks();
    let newer = timers.with(|timers| timers.queue.next_id());
    // The lock is free while a callback runs, which may make and cancel timers. One that it makes for a moment that has
    // passed waits for its own interrupt, so that no function keeps the handler for ever.
    while let Some(Callback { function, argument }) = timers.with(|timers| timers.queue.take_due(now, newer))
    {
        function(argument);
    }
    timers.with(|timers| {
        timers.set_to = NEVER;
        if timers.wake <= now {
            timers.wake = NEVER;
        }
        timers.set_alarm();
    });
}
