//! Waiting for whatever ends a machine: its own end, its time limit, or a signal to this process.
//!
//! Signals are blocked and read from a descriptor, so that none is lost between a check and a wait.

use crate::error::Error;
use nix::errno::Errno;
use nix::poll::{PollFd, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Signals to this process, of which SIGINT and SIGTERM ask it to stop.
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Takes SIGINT, SIGTERM and SIGCHLD out of normal delivery, for this thread and those it starts from here on.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel gives no descriptor.
    pub(crate) fn take_over() -> Result<Self, Error> {
        let mask = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD]);
        // SAFETY: the default disposition runs no code of ours. A parent may have left SIGCHLD ignored, and then nobody
        // could wait for a child.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.map_err(Error::system("receive SIGCHLD"))?;
        mask.thread_block().map_err(Error::system("block signals"))?;
        SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map(Self)
            .map_err(Error::system("receive signals"))
    }

    /// Reads the signals that have arrived; whether one of them asks to stop.
    ///
    /// # Errors
    /// [`Error::System`] if they can't be read.
    pub(crate) fn ask_to_stop(&self) -> Result<bool, Error> {
        let mut stop = false;
        while let Some(signal) = self.0.read_signal().map_err(Error::system("read signals"))? {
            stop |= [Signal::SIGINT, Signal::SIGTERM].iter().any(|asking| *asking as u32 == signal.ssi_signo);
        }
        Ok(stop)
    }

    /// For work before the guest runs: ends it if a signal that has arrived asks to stop.
    ///
    /// # Errors
    /// [`Error::Interrupted`], and those of [`Self::ask_to_stop`].
    pub(crate) fn go_on(&self) -> Result<(), Error> {
        if self.ask_to_stop()? { Err(Error::Interrupted) } else { Ok(()) }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of the descriptors has an event or the deadline has passed. Which of them it was is in the
/// descriptors' `revents`.
///
/// # Errors
/// [`Error::System`] if the kernel can't wait.
pub(crate) fn wait_until(descriptors: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<(), Error> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match poll(descriptors, left.map_or(PollTimeout::NONE, timeout)) {
            // A limit beyond what one call can wait is waited for in several.
            Ok(0) if left.is_none_or(|left| !left.is_zero()) => {}
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(Error::system("wait for the guest")(error)),
        }
    }
}

/// Rounds up, so that a wait never ends early and then spins.
fn timeout(left: Duration) -> PollTimeout {
    let milliseconds = left.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::status::VmmStatus;
    use nix::poll::PollFlags;
    use std::io::Write;

    #[test]
    fn a_wait_is_rounded_up_and_bounded() {
        assert_eq!(timeout(Duration::ZERO), PollTimeout::ZERO);
        assert_eq!(timeout(Duration::from_nanos(1)), PollTimeout::try_from(1).unwrap());
        assert_eq!(timeout(Duration::from_millis(7)), PollTimeout::try_from(7).unwrap());
        assert_eq!(timeout(Duration::MAX), PollTimeout::MAX);
    }

    #[test]
    fn a_wait_ends_with_an_event_or_at_the_deadline() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut descriptors = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        let before = Instant::now();
        wait_until(&mut descriptors, Some(before + Duration::from_millis(20))).unwrap();
        assert!(before.elapsed() >= Duration::from_millis(20));
        assert_eq!(descriptors[0].any(), Some(false));

        writer.write_all(b"x").unwrap();
        wait_until(&mut descriptors, None).unwrap();
        assert_eq!(descriptors[0].any(), Some(true));
    }

    #[test]
    fn only_signals_that_ask_to_stop_do() {
        let signals = Signals::take_over().unwrap();
        assert!(!signals.ask_to_stop().unwrap());
        // To this thread alone, which has them blocked; a signal to the process would end the test run.
        let tell = |signal| nix::sys::signal::raise(signal).unwrap();
        tell(Signal::SIGCHLD);
        assert!(!signals.ask_to_stop().unwrap());
        tell(Signal::SIGTERM);
        tell(Signal::SIGCHLD);
        assert!(signals.ask_to_stop().unwrap());
        assert!(!signals.ask_to_stop().unwrap(), "read once");

        tell(Signal::SIGINT);
        let error = signals.go_on().unwrap_err();
        assert_eq!(error.status(), VmmStatus::Interrupted);
        signals.go_on().unwrap();
    }
}
