//! The command line that a guest reads: log level, whether its console is a terminal, and the application's arguments.

use crate::error::Error;
use guest_interface::command_line::{LOG, Quoted, SEPARATOR, TERMINAL};
use guest_interface::layout::COMMAND_LINE_LEN_MAX;
use std::ffi::OsString;
use std::fmt::Write;

/// Builds the line `log=LEVEL -- ARGS`, with `terminal` before the dashes if the console ends at one, and without dashes
/// if there are no arguments.
///
/// # Errors
/// For an argument that is not UTF-8 or holds a NUL, and for a line that does not fit with its NUL into
/// [`COMMAND_LINE_LEN_MAX`] bytes.
pub(crate) fn build(log_level: &str, terminal: bool, arguments: &[OsString]) -> Result<String, Error> {
    let mut line = format!("{LOG}={log_level}");
    if terminal {
        line.extend([" ", TERMINAL]);
    }
    for (index, argument) in arguments.iter().enumerate() {
        let argument = argument.to_str().ok_or_else(|| Error::ArgumentNotUtf8(argument.clone()))?;
        if argument.contains('\0') {
            return Err(Error::ArgumentWithNul(argument.to_owned()));
        }
        if index == 0 {
            line.extend([" ", SEPARATOR]);
        }
        // Writing to a String can't fail.
        let _ = write!(line, " {}", Quoted(argument));
    }
    let len_bytes = line.len() + 1;
    if len_bytes > COMMAND_LINE_LEN_MAX {
        return Err(Error::CommandLineTooLong { len_bytes });
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::command_line::{Words, split};
    use std::os::unix::ffi::OsStringExt;

    fn arguments(arguments: &[&str]) -> Vec<OsString> {
        arguments.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_guest_reads_back_what_was_given() {
        let given = ["--seed", "7", "two words", "", "--", "a\"b"];
        let line = build("debug", false, &arguments(&given)).unwrap();
        let (kernel, application) = split(&line);
        assert_eq!(Words::new(kernel).collect::<Vec<_>>(), ["log=debug"]);
        assert_eq!(Words::new(application).collect::<Vec<_>>(), given);
    }

    #[test]
    fn without_arguments_there_is_only_the_level() {
        assert_eq!(build("info", false, &[]).unwrap(), "log=info");
    }

    #[test]
    fn a_terminal_is_told_to_the_kernel() {
        assert_eq!(build("info", true, &[]).unwrap(), "log=info terminal");
        assert_eq!(build("info", true, &arguments(&["a"])).unwrap(), "log=info terminal -- a");
    }

    #[test]
    fn what_a_command_line_cannot_carry_is_refused() {
        let not_utf8 = [OsString::from_vec(vec![b'a', 0xff])];
        assert!(matches!(build("info", false, &not_utf8), Err(Error::ArgumentNotUtf8(_))));
        assert!(matches!(build("info", false, &arguments(&["a\0b"])), Err(Error::ArgumentWithNul(_))));
    }

    #[test]
    fn the_longest_line_has_room_for_its_nul() {
        let room = COMMAND_LINE_LEN_MAX - 1 - "log=info -- ".len();
        assert_eq!(
            build("info", false, &arguments(&[&"a".repeat(room)])).unwrap().len(),
            COMMAND_LINE_LEN_MAX - 1
        );
        let too_long = build("info", false, &arguments(&[&"a".repeat(room + 1)]));
        let expected = COMMAND_LINE_LEN_MAX + 1;
        assert!(matches!(too_long, Err(Error::CommandLineTooLong { len_bytes }) if len_bytes == expected));
    }
}
