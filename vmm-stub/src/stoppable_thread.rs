//! A thread that can be stopped at any moment: one that runs a vCPU, or one that writes what a reader may never read.
//!
//! To stop it: set the flag, then send the kick signal until the thread has ended. The thread checks the flag before it
//! enters the guest or writes, and the signal takes it out of the guest or out of a blocked write. A signal that arrives
//! between the check and the entry is lost; the next one, a millisecond later, is not.
//!
//! While nobody stops it, a kick now and then lets the first kind see whether its vCPU has [halted for ever](crate::vcpu::halt).

use crate::error::Error;
use crate::vcpu::halt::CHECK_INTERVAL;
use crate::wait::{Signals, wait_until};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use std::io::{self, PipeReader};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler, unblock_signal};

const KICK_INTERVAL: Duration = Duration::from_millis(1);

/// Enough for the run loop; only what is touched takes memory.
const STACK_LEN: usize = 256 << 10;

/// Why a wait for a thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The thread has ended by itself.
    Ended,
    /// The deadline has passed.
    Timeout,
    /// A signal asked this process to stop.
    Interrupted,
}

/// A running thread, with result `T`.
pub(crate) struct StoppableThread<T> {
    handle: JoinHandle<T>,
    /// Its other end closes when the thread ends, in whatever way.
    ended: PipeReader,
    stop: Arc<AtomicBool>,
}

impl<T: Send + 'static> StoppableThread<T> {
    /// Starts `work`, which must end soon once `stop` is set and the kick signal interrupts what it does.
    ///
    /// # Errors
    /// [`Error::System`] if the host gives no thread.
    pub(crate) fn start(
        name: &str,
        stop: Arc<AtomicBool>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Self, Error> {
        register_signal_handler(kick_signal(), kicked)
            .map_err(|error| Error::system("handle the kick signal")(io::Error::from(error)))?;
        let (ended, running) = io::pipe().map_err(Error::system("watch a thread"))?;
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK_LEN)
            .spawn(move || {
                // Whoever started this process may have blocked it. If it stays blocked, only the kick suffers.
                let _ = unblock_signal(kick_signal());
                let result = work();
                drop(running);
                result
            })
            .map_err(Error::system("start a thread"))?;
        Ok(Self { handle, ended, stop })
    }

    /// Waits for the end of the thread, the deadline, or a signal that asks to stop. Kicks the thread meanwhile.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel can't wait.
    pub(crate) fn wait(&self, signals: &Signals, deadline: Option<Instant>) -> Result<Wake, Error> {
        loop {
            let mut descriptors = [
                PollFd::new(self.ended.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            let next_check = Instant::now() + CHECK_INTERVAL;
            let is_last = deadline.is_some_and(|deadline| deadline <= next_check);
            wait_until(&mut descriptors, if is_last { deadline } else { Some(next_check) })?;
            match descriptors.map(|descriptor| descriptor.any().unwrap_or(false)) {
                [true, _] => return Ok(Wake::Ended),
                [false, true] if signals.ask_to_stop()? => return Ok(Wake::Interrupted),
                [false, true] => {}
                [false, false] if is_last => return Ok(Wake::Timeout),
                [false, false] => self.kick()?,
            }
        }
    }

    /// Makes the thread end, and waits until it has.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel can't wait.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        self.stop.store(true, Ordering::Relaxed);
        let mut interval = Duration::ZERO;
        loop {
            let mut descriptors = [PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
            wait_until(&mut descriptors, Some(Instant::now() + interval))?;
            if descriptors[0].any().unwrap_or(false) {
                return Ok(());
            }
            self.kick()?;
            interval = KICK_INTERVAL;
        }
    }

    /// Interrupts what the thread does in the kernel.
    fn kick(&self) -> Result<(), Error> {
        match self.handle.kill(kick_signal()) {
            // It ended in this moment, which older C libraries call an error.
            Err(error) if error.errno() == Errno::ESRCH as i32 => Ok(()),
            kicked => kicked.map_err(|error| Error::system("interrupt a thread")(io::Error::from(error))),
        }
    }

    /// The result of a thread that has ended.
    ///
    /// # Errors
    /// [`Error::ThreadLost`] if it has none.
    pub(crate) fn join(self) -> Result<T, Error> {
        self.handle.join().map_err(|_| Error::ThreadLost)
    }
}

/// The first real-time signal that libc leaves to programs.
fn kick_signal() -> i32 {
    SIGRTMIN()
}

/// Does nothing: that it is called suffices to interrupt a system call.
extern "C" fn kicked(_: i32, _: *mut nix::libc::siginfo_t, _: *mut std::ffi::c_void) {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn start<T: Send + 'static>(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> StoppableThread<T> {
        let stop = Arc::new(AtomicBool::new(false));
        StoppableThread::start("test", stop.clone(), move || work(&stop)).unwrap()
    }

    #[test]
    fn a_thread_that_ends_by_itself_is_noticed() {
        let signals = Signals::take_over().unwrap();
        let thread = start(|_| 7);
        assert_eq!(thread.wait(&signals, None).unwrap(), Wake::Ended);
        thread.stop().unwrap();
        assert_eq!(thread.join().unwrap(), 7, "stopping one that has ended changes nothing");
    }

    #[test]
    fn a_thread_that_spins_or_blocks_is_stopped() {
        let signals = Signals::take_over().unwrap();
        let spinning = start(|stop| while !stop.load(Ordering::Relaxed) {});
        let (mut reader, _writer) = io::pipe().unwrap();
        let blocked = start(move |_| reader.read(&mut [0]).unwrap_err().kind());

        let deadline = Instant::now() + Duration::from_millis(10);
        assert_eq!(spinning.wait(&signals, Some(deadline)).unwrap(), Wake::Timeout);
        spinning.stop().unwrap();
        assert_eq!(blocked.wait(&signals, Some(deadline)).unwrap(), Wake::Timeout);
        blocked.stop().unwrap();
        assert_eq!(blocked.join().unwrap(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn a_thread_that_panics_is_no_endless_wait() {
        let signals = Signals::take_over().unwrap();
        let thread = start::<()>(|_| panic!("as intended by this test"));
        assert_eq!(thread.wait(&signals, None).unwrap(), Wake::Ended);
        assert!(matches!(thread.join(), Err(Error::ThreadLost)));
    }

    #[test]
    fn a_signal_ends_the_wait() {
        let signals = Signals::take_over().unwrap();
        let thread = start(|stop| while !stop.load(Ordering::Relaxed) {});
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT).unwrap();
        assert_eq!(thread.wait(&signals, None).unwrap(), Wake::Interrupted);
        thread.stop().unwrap();
    }
}
