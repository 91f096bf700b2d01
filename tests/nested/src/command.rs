//! Programs of the machine that do part of the work.

use crate::error::Error;
use std::io::ErrorKind;
use std::process::Command;

/// Runs a program to its end and gives what it printed. `advice` says where to get it.
///
/// # Errors
/// [`Error::MissingProgram`], or [`Error::Command`] with the end of what it complained of.
pub(crate) fn run(command: &mut Command, advice: &'static str) -> Result<String, Error> {
    const SHOWN: usize = 3;
    let shown = format!("{command:?}").replace('"', "");
    // Messages are read in part, so they must be in one language.
    let output = match command.env("LC_ALL", "C").output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let program = shown.split(' ').next().unwrap_or_default().to_owned();
            return Err(Error::MissingProgram { program, advice });
        }
        Err(error) => return Err(Error::Command { command: shown, said: error.to_string() }),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = complaint.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(SHOWN)..].join("; ");
    Err(Error::Command { command: shown, said: format!("{}: {last}", output.status) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADVICE: &str = "install it";

    #[test]
    fn a_missing_program_is_named_with_what_to_do() {
        let error = run(&mut Command::new("no-such-program"), ADVICE).unwrap_err().to_string();
        assert!(error.contains("'no-such-program'") && error.contains(ADVICE), "{error}");
    }

    #[test]
    fn a_failure_shows_the_last_complaints() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "for i in 1 2 3 4; do echo complaint $i >&2; done; exit 7"]);
        let error = run(&mut shell, ADVICE).unwrap_err().to_string();
        assert!(
            error.contains("complaint 2; complaint 3; complaint 4") && !error.contains("complaint 1"),
            "{error}"
        );
        assert_eq!(run(Command::new("echo").arg("said"), ADVICE).unwrap(), "said\n");
    }
}
