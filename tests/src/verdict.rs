//! What a process did against what it should have done.

use crate::process::Ended;
use std::borrow::Cow;
use std::io;
use std::process::Command;
use thiserror::Error;

/// Last lines of each output that a failure shows.
const LINES_SHOWN: usize = 25;
/// Characters of a line that a failure shows.
const LINE_LEN_SHOWN: usize = 200;

/// A process that did not do as expected.
#[derive(Clone, Debug, Error)]
#[error("{what}{context}")]
pub struct Failure {
    what: String,
    context: String,
}

impl Failure {
    /// A failure that no single process shows.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), context: String::new() }
    }

    /// A process that could not be started.
    #[must_use]
    pub fn start(error: io::Error) -> Self {
        Self::new(format!("the process can't be started: {error}"))
    }
}

/// A process that has ended in an orderly way, to be judged further. Each judgement gives the verdict back, so that
/// they can be chained.
#[derive(Clone, Debug)]
pub struct Verdict {
    command: String,
    ended: Ended,
}

impl Verdict {
    /// Judges what is true of every process, whatever it was to do.
    ///
    /// # Errors
    /// If it had to be killed, was ended by a signal, panicked itself, or left a process behind.
    pub fn new(command: &Command, ended: Ended) -> Result<Self, Failure> {
        let verdict = Self { command: format!("{command:?}"), ended };
        let ended = &verdict.ended;
        if ended.was_killed {
            return Err(verdict.failure("it did not end in time and was killed"));
        }
        if let Some(signal) = ended.signal {
            return Err(verdict.failure(format!("signal {signal} ended it")));
        }
        if verdict.stderr().contains("panicked at") {
            return Err(verdict.failure("the program itself panicked"));
        }
        if ended.left_open {
            return Err(verdict.failure("a process that it left behind holds its output open"));
        }
        Ok(verdict)
    }

    /// What it printed.
    #[must_use]
    pub fn stdout(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.ended.stdout)
    }

    /// What it printed as errors.
    #[must_use]
    pub fn stderr(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.ended.stderr)
    }

    /// How it ended.
    #[must_use]
    pub fn ended(&self) -> &Ended {
        &self.ended
    }

    /// A failure of this process, with its command, status and last lines.
    #[must_use]
    pub fn failure(&self, what: impl Into<String>) -> Failure {
        let status = match (self.ended.status, self.ended.signal) {
            (Some(status), _) => format!("status {status}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "status unknown".to_owned(),
        };
        let context = format!(
            "\n  command: {}\n  ended:   {status} after {:.3} s{}{}",
            self.command,
            self.ended.wall.as_secs_f64(),
            last_lines("stdout", &self.stdout()),
            last_lines("stderr", &self.stderr()),
        );
        Failure { what: what.into(), context }
    }

    /// Judges its exit status.
    ///
    /// # Errors
    /// If it is another.
    pub fn status(&self, expected: impl Into<i32>) -> Result<&Self, Failure> {
        let expected = expected.into();
        if self.ended.status == Some(expected) {
            return Ok(self);
        }
        Err(self.failure(format!("status {expected} was expected")))
    }

    /// Judges whether its standard output holds each of some texts.
    ///
    /// # Errors
    /// If one is missing.
    pub fn prints<'text>(&self, texts: impl IntoIterator<Item = &'text str>) -> Result<&Self, Failure> {
        self.holds("stdout", &self.stdout(), texts)
    }

    /// Judges whether its standard errors hold each of some texts.
    ///
    /// # Errors
    /// If one is missing.
    pub fn complains<'text>(&self, texts: impl IntoIterator<Item = &'text str>) -> Result<&Self, Failure> {
        self.holds("stderr", &self.stderr(), texts)
    }

    /// Judges whether all it says as errors is one line of `vmm-stub`'s own.
    ///
    /// # Errors
    /// If it is more, less, or another's.
    pub fn complains_in_one_line(&self) -> Result<&Self, Failure> {
        let stderr = self.stderr();
        if stderr.lines().count() == 1 && stderr.starts_with("vmm-stub: ") && stderr.ends_with('\n') {
            return Ok(self);
        }
        Err(self.failure("exactly one line on stderr, from vmm-stub, was expected"))
    }

    fn holds<'text>(
        &self,
        stream: &str,
        output: &str,
        texts: impl IntoIterator<Item = &'text str>,
    ) -> Result<&Self, Failure> {
        match texts.into_iter().find(|text| !output.contains(*text)) {
            None => Ok(self),
            Some(text) => Err(self.failure(format!("{text:?} was expected on {stream}"))),
        }
    }
}

/// The end of an output, indented under its name; nothing of an empty one.
fn last_lines(name: &str, output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    if lines.is_empty() {
        return String::new();
    }
    let hidden = lines.len().saturating_sub(LINES_SHOWN);
    let mut shown = format!("\n  {name}:");
    if hidden > 0 {
        shown.push_str(&format!("\n    ({hidden} lines before)"));
    }
    for line in &lines[hidden..] {
        let cut: String = line.chars().take(LINE_LEN_SHOWN).collect();
        shown.push_str(&format!("\n    {}", cut.escape_debug()));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Running;
    use std::time::Duration;

    fn judge(script: &str, limit: Duration) -> Result<Verdict, Failure> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let ended = Running::start(&mut command).unwrap().end(limit);
        Verdict::new(&command, ended)
    }

    fn verdict(script: &str) -> Verdict {
        judge(script, Duration::from_secs(10)).unwrap()
    }

    #[test]
    fn what_is_as_expected_passes() {
        let verdict = verdict("echo hello; echo vmm-stub: no >&2; exit 3");
        let all = verdict.status(3).and_then(|it| it.prints(["hell", "ello"]));
        all.and_then(|it| it.complains(["no"])).and_then(Verdict::complains_in_one_line).unwrap();
    }

    #[test]
    fn what_is_not_fails_with_command_status_and_output() {
        let verdict = verdict("echo hello; echo oops >&2; exit 3");
        for failure in [
            verdict.status(4).unwrap_err(),
            verdict.prints(["hello", "there"]).unwrap_err(),
            verdict.complains(["no"]).unwrap_err(),
            verdict.complains_in_one_line().unwrap_err(),
        ] {
            let text = failure.to_string();
            for part in ["exit 3\"", "status 3", "\n    hello", "\n    oops"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    #[test]
    fn endings_that_are_never_right_fail_at_once() {
        let limit = Duration::from_secs(10);
        assert!(judge("kill -SEGV $$", limit).unwrap_err().to_string().contains("signal 11"));
        assert!(judge("echo thread panicked at x >&2", limit).unwrap_err().to_string().contains("panicked"));
        assert!(judge("sleep 60", Duration::from_millis(100)).unwrap_err().to_string().contains("in time"));
    }

    #[test]
    fn a_failure_shows_the_last_lines_only() {
        let text = verdict("seq 1000").failure("no").to_string();
        assert!(text.contains("(975 lines before)\n    976\n") && text.ends_with("\n    1000"), "{text}");
    }
}
