//! Child processes that end in time, whatever they do, and whose output is kept up to a limit.

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes of each output that are kept; the rest is read and counted.
pub const OUTPUT_LEN_MAX: usize = 4 << 20;

/// How long an output may stay open when its process has ended.
const CLOSING_LIMIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(1);

/// How a process ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit status, unless a signal ended it.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether that was this module's, because the process took too long.
    pub was_killed: bool,
    /// Whether another process holds its output open still: one that it left behind.
    pub left_open: bool,
    /// What it printed, up to [`OUTPUT_LEN_MAX`].
    pub stdout: Vec<u8>,
    /// What it printed as errors, up to [`OUTPUT_LEN_MAX`].
    pub stderr: Vec<u8>,
    /// Bytes of both that were not kept.
    pub dropped_bytes: u64,
    /// From the start of the process to its end.
    pub wall: Duration,
}

/// Output as it arrives.
#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    dropped: u64,
}

/// An output and the thread that reads it.
#[derive(Debug)]
struct Reader {
    output: Arc<Mutex<Output>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(source: Option<impl Read + Send + 'static>) -> Self {
        let output = Arc::default();
        let thread = source.map(|mut source| {
            let output = Arc::clone(&output);
            thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(len @ 1..) = source.read(&mut buffer) {
                    let mut output = lock(&output);
                    let kept = len.min(OUTPUT_LEN_MAX - output.bytes.len());
                    output.bytes.extend_from_slice(&buffer[..kept]);
                    output.dropped += (len - kept) as u64;
                }
            })
        });
        Self { output, thread }
    }

    /// Takes what was read. Returns whether the output was closed.
    fn finish(self) -> (Output, bool) {
        let deadline = Instant::now() + CLOSING_LIMIT;
        let closed = match self.thread {
            None => true,
            Some(thread) => {
                while !thread.is_finished() && Instant::now() < deadline {
                    thread::sleep(POLL);
                }
                thread.is_finished()
            }
        };
        (std::mem::take(&mut *lock(&self.output)), closed)
    }
}

fn lock(output: &Mutex<Output>) -> MutexGuard<'_, Output> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that runs. It is killed if this value is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<Reader>,
    stderr: Option<Reader>,
    started: Instant,
}

impl Running {
    /// Starts a process without input, whose outputs are read.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::start_as_is(command)
    }

    /// Starts a process with the standard streams that the command says. Those that are piped are read.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start_as_is(command: &mut Command) -> io::Result<Self> {
        let started = Instant::now();
        // A group of its own, to end whatever it leaves behind.
        let mut child = command.process_group(0).spawn()?;
        let stdout = Reader::start(child.stdout.take());
        let stderr = Reader::start(child.stderr.take());
        Ok(Self { child, stdout: Some(stdout), stderr: Some(stderr), started })
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal. It may have ended before; then nothing happens, as its number is kept until it is waited for.
    pub fn signal(&self, signal: Signal) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(id), signal);
        }
    }

    /// Waits until its standard output holds `text`. Returns whether it did within the limit.
    #[must_use]
    pub fn prints_within(&mut self, text: &str, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let ended = !matches!(self.child.try_wait(), Ok(None));
            let output = self.stdout.as_ref().map(|reader| lock(&reader.output));
            let printed = output.is_some_and(|output| {
                output.bytes.windows(text.len()).any(|window| window == text.as_bytes())
            });
            if printed || ended || Instant::now() >= deadline {
                return printed;
            }
            thread::sleep(POLL);
        }
    }

    /// Waits for its end. Kills it when `limit` has passed since its start.
    #[must_use]
    pub fn end(mut self, limit: Duration) -> Ended {
        let mut was_killed = false;
        let status = loop {
            match self.child.try_wait() {
                Ok(None) if was_killed || self.started.elapsed() < limit => thread::sleep(POLL),
                Ok(None) => {
                    was_killed = true;
                    let _ = self.child.kill();
                }
                Ok(Some(status)) => break Some(status),
                Err(_) => break None,
            }
        };
        let wall = self.started.elapsed();
        let finish = |reader: Option<Reader>| reader.map_or((Output::default(), true), Reader::finish);
        let (stdout, stdout_closed) = finish(self.stdout.take());
        let (stderr, stderr_closed) = finish(self.stderr.take());
        let left_open = !(stdout_closed && stderr_closed);
        if left_open && let Ok(group) = i32::try_from(self.child.id()) {
            // The number is still the group's, as something of the group is alive; if nothing is, this fails.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        Ended {
            status: status.and_then(|status| status.code()),
            signal: status.as_ref().and_then(ExitStatus::signal),
            was_killed,
            left_open,
            dropped_bytes: stdout.dropped + stderr.dropped,
            stdout: stdout.bytes,
            stderr: stderr.bytes,
            wall,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail for a process that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Running {
        Running::start(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn status_and_outputs_are_told_apart() {
        let ended = shell("echo out; echo err >&2; exit 7").end(Duration::from_secs(10));
        assert_eq!((ended.status, ended.signal, ended.was_killed), (Some(7), None, false));
        assert_eq!((&*ended.stdout, &*ended.stderr), (&b"out\n"[..], &b"err\n"[..]));
        assert!(!ended.left_open);
    }

    #[test]
    fn a_process_that_takes_too_long_is_killed() {
        let ended = shell("echo begun; exec sleep 60").end(Duration::from_millis(300));
        assert!(ended.was_killed && ended.wall < Duration::from_secs(10));
        assert_eq!((ended.status, ended.signal), (None, Some(9)));
        assert_eq!(ended.stdout, b"begun\n");
    }

    #[test]
    fn output_beyond_the_limit_is_counted() {
        let len = OUTPUT_LEN_MAX + 1000;
        let ended = shell(&format!("head -c {len} /dev/zero")).end(Duration::from_secs(20));
        assert_eq!((ended.stdout.len(), ended.dropped_bytes), (OUTPUT_LEN_MAX, 1000));
        assert_eq!(ended.status, Some(0));
    }

    #[test]
    fn a_process_left_behind_is_noticed_and_ended() {
        let ended = shell("sleep 60 & echo $!").end(Duration::from_secs(10));
        assert!(ended.left_open);
        assert_eq!(ended.status, Some(0));
        let left: i32 = String::from_utf8(ended.stdout).unwrap().trim().parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        // Signal 0 only asks whether the process is there; one that nobody waits for stays as a zombie.
        let is_alive = || {
            let state = std::fs::read_to_string(format!("/proc/{left}/stat")).unwrap_or_default();
            kill(Pid::from_raw(left), None).is_ok() && !state.contains(") Z ")
        };
        while is_alive() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        assert!(!is_alive());
    }

    #[test]
    fn output_can_be_waited_for() {
        let mut running = shell("echo ready; exec sleep 60");
        assert!(running.prints_within("ready", Duration::from_secs(10)));
        assert!(!running.prints_within("never", Duration::from_millis(50)));
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end(Duration::from_secs(10)).signal, Some(15));
    }
}
