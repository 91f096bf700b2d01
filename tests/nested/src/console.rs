//! The serial console of the emulated machine: a file that the emulator appends to, and that is read as it grows.

use crate::error::Error;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(50);
/// Longest part of a line that is kept: a wild guest may print without end.
const LINE_LEN_MAX: usize = 4096;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For the next output.
    pub(crate) idle: Duration,
    /// For the end.
    pub(crate) whole: Duration,
}

/// Gives every line to `each` until the emulator ends, or `each` has seen enough. The emulator is then gone, in one way or
/// another.
///
/// # Errors
/// [`Error::Hung`], [`Error::TooLong`]; [`Error::File`] if the console can't be read.
pub(crate) fn follow(
    emulator: Child,
    console: &Path,
    limits: Limits,
    mut each: impl FnMut(&str) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut emulator = Guard(emulator);
    let started = Instant::now();
    let mut lines = Lines::default();
    let mut file = None;
    let mut last_output = started;
    loop {
        // Asked before the file is read, so that what was written before the end is read.
        let ended = !matches!(emulator.0.try_wait(), Ok(None));
        if file.is_none() {
            file = File::open(console).ok();
        }
        let mut new = Vec::new();
        if let Some(file) = &mut file {
            file.read_to_end(&mut new).map_err(Error::file(console, "read"))?;
        }
        if !new.is_empty() {
            last_output = Instant::now();
        }
        let mut seen = lines.take(&new, &mut each);
        if ended && seen.is_continue() {
            seen = lines.end(&mut each);
        }
        if ended || seen.is_break() {
            return Ok(());
        }
        let log = || PathBuf::from(console);
        if started.elapsed() > limits.whole {
            return Err(Error::TooLong { limit: limits.whole, log: log() });
        }
        if last_output.elapsed() > limits.idle {
            return Err(Error::Hung { idle: limits.idle, last_line: lines.last(), log: log() });
        }
        thread::sleep(POLL);
    }
}

/// Ends the emulator, whatever happens.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail for a process that was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lines made of pieces.
#[derive(Default)]
struct Lines {
    unfinished: Vec<u8>,
    previous: String,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], each: &mut impl FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
        for &byte in bytes {
            match byte {
                b'\n' => self.end(each)?,
                b'\r' => {}
                _ if self.unfinished.len() < LINE_LEN_MAX => self.unfinished.push(byte),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn end(&mut self, each: &mut impl FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
        if self.unfinished.is_empty() {
            return ControlFlow::Continue(());
        }
        self.previous = String::from_utf8_lossy(&self.unfinished).into_owned();
        self.unfinished.clear();
        each(&self.previous)
    }

    /// What was printed last, be it a whole line or not.
    fn last(&self) -> String {
        match &*self.unfinished {
            [] => self.previous.clone(),
            bytes => String::from_utf8_lossy(bytes).trim_end().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const SHORT: Limits = Limits { idle: Duration::from_millis(400), whole: Duration::from_secs(20) };

    /// Follows a shell that writes to `$0` as its console.
    fn followed(script: &str, limits: Limits) -> (Vec<String>, Result<(), Error>) {
        let folder = tempfile::tempdir().unwrap();
        let console = folder.path().join("console");
        let shell = Command::new("sh").args(["-c", script]).arg(&console).spawn().unwrap();
        let mut lines = Vec::new();
        let result = follow(shell, &console, limits, |line| {
            lines.push(line.to_owned());
            if line == "enough" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (lines, result)
    }

    #[test]
    fn every_line_is_given_even_without_an_end() {
        let (lines, result) =
            followed(r"printf 'one\r\n\ntw' > $0; sleep 0.2; printf 'o\nthree' >> $0", SHORT);
        result.unwrap();
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[test]
    fn who_has_seen_enough_need_not_wait_for_the_end() {
        let (lines, result) = followed(r"printf 'one\nenough\nmore\n' > $0; exec sleep 60", SHORT);
        result.unwrap();
        assert_eq!(lines, ["one", "enough"]);
    }

    #[test]
    fn silence_is_a_hang_with_the_last_words() {
        let (lines, result) = followed(r"printf 'one\ntest two ... ' > $0; exec sleep 60", SHORT);
        let error = result.unwrap_err();
        assert!(
            error.may_pass_when_repeated() && error.to_string().contains("after \"test two ...\""),
            "{error}"
        );
        assert_eq!(lines, ["one"]);
    }

    #[test]
    fn a_machine_that_prints_for_ever_is_ended() {
        let limits = Limits { idle: Duration::from_secs(20), whole: Duration::from_millis(500) };
        let (_, result) = followed("while :; do echo more; sleep 0.01; done > $0", limits);
        assert!(matches!(result, Err(Error::TooLong { .. })), "{result:?}");
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let (lines, result) = followed("head -c 1000000 /dev/zero | tr '\\0' x > $0", SHORT);
        result.unwrap();
        assert_eq!(lines, ["x".repeat(LINE_LEN_MAX)]);
    }
}
