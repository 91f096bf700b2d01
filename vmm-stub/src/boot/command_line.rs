//! The command line that a guest reads: log level and the application's arguments.

use crate::error::Error;
use guest_interface::command_line::{LOG, Quoted, SEPARATOR};
use guest_interface::layout::COMMAND_LINE_LEN_MAX;
use std::ffi::OsString;
use std::fmt::Write;

/// Builds the line `log=LEVEL -- ARGS`; without arguments, `log=LEVEL`.
///
/// # Errors
/// For an argument that is not UTF-8 or holds a NUL, and for a line that does not fit with its NUL into
/// [`COMMAND_LINE_LEN_MAX`] bytes.
pub(crate) fn build(log_level: &str, arguments: &[OsString]) -> Result<String, Error> {
    let mut line = format!("{LOG}={log_level}");
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
        let line = build("debug", &arguments(&given)).unwrap();
        let (kernel, application) = split(&line);
        assert_eq!(Words::new(kernel).collect::<Vec<_>>(), ["log=debug"]);
        assert_eq!(Words::new(application).collect::<Vec<_>>(), given);
    }

    #[test]
    fn without_arguments_there_is_only_the_level() {
        assert_eq!(build("info", &[]).unwrap(), "log=info");
    }

    #[test]
    fn what_a_command_line_cannot_carry_is_refused() {
        let not_utf8 = [OsString::from_vec(vec![b'a', 0xff])];
        assert!(matches!(build("info", &not_utf8), Err(Error::ArgumentNotUtf8(_))));
        assert!(matches!(build("info", &arguments(&["a\0b"])), Err(Error::ArgumentWithNul(_))));
    }

    #[test]
    fn the_longest_line_has_room_for_its_nul() {
        let room = COMMAND_LINE_LEN_MAX - 1 - "log=info -- ".len();
        assert_eq!(build("info", &arguments(&[&"a".repeat(room)])).unwrap().len(), COMMAND_LINE_LEN_MAX - 1);
        let too_long = build("info", &arguments(&[&"a".repeat(room + 1)]));
        let expected = COMMAND_LINE_LEN_MAX + 1;
        assert!(matches!(too_long, Err(Error::CommandLineTooLong { len_bytes }) if len_bytes == expected));
    }
}
