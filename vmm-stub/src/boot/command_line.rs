//! The command line that a guest reads: the kernel's parameters, and the application's arguments.

use crate::error::Error;
use guest_interface::command_line::{AUDIT, DUMP_ADDRESS_SPACE, LOG, Quoted, SEPARATOR, TERMINAL};
use guest_interface::environment::Variable;
use guest_interface::layout::COMMAND_LINE_LEN_MAX;
use std::ffi::OsString;
use std::fmt::Write;

/// What the kernel is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelParameters {
    /// Its log level, by the name it has on the command line.
    pub(crate) log_level: &'static str,
    /// Whether its console ends at a terminal.
    pub(crate) terminal: bool,
    /// Whether to audit page tables and frames when the application has ended.
    pub(crate) audit: bool,
    /// Whether to print the address space when the application has ended.
    pub(crate) dump_address_space: bool,
}

/// Builds the line `log=LEVEL -- ARGS`, with a word before the dashes for each parameter that is set and each variable, and
/// without dashes if there are no arguments.
///
/// # Errors
/// For an argument that is not UTF-8 or holds a NUL, and for a line that does not fit with its NUL into
/// [`COMMAND_LINE_LEN_MAX`] bytes.
pub(crate) fn build(
    kernel: KernelParameters,
    environment: &[Variable],
    arguments: &[OsString],
) -> Result<String, Error> {
    let mut line = format!("{LOG}={}", kernel.log_level);
    let words =
        [(kernel.terminal, TERMINAL), (kernel.audit, AUDIT), (kernel.dump_address_space, DUMP_ADDRESS_SPACE)];
    for (_, word) in words.into_iter().filter(|(is_set, _)| *is_set) {
        line.extend([" ", word]);
    }
    for variable in environment {
        // Writing to a String can't fail.
        let _ = write!(line, " {variable}");
    }
    for (index, argument) in arguments.iter().enumerate() {
        let argument = argument.to_str().ok_or_else(|| Error::ArgumentNotUtf8(argument.clone()))?;
        if argument.contains('\0') {
            return Err(Error::ArgumentWithNul(argument.to_owned()));
        }
        if index == 0 {
            line.extend([" ", SEPARATOR]);
        }
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

    const PLAIN: KernelParameters =
        KernelParameters { log_level: "info", terminal: false, audit: false, dump_address_space: false };

    fn arguments(arguments: &[&str]) -> Vec<OsString> {
        arguments.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_guest_reads_back_what_was_given() {
        let given = ["--seed", "7", "two words", "", "--", "a\"b"];
        let line = build(KernelParameters { log_level: "debug", ..PLAIN }, &[], &arguments(&given)).unwrap();
        let (kernel, application) = split(&line);
        assert_eq!(Words::new(kernel).collect::<Vec<_>>(), ["log=debug"]);
        assert_eq!(Words::new(application).collect::<Vec<_>>(), given);
    }

    #[test]
    fn without_arguments_there_is_only_the_level() {
        assert_eq!(build(PLAIN, &[], &[]).unwrap(), "log=info");
    }

    #[test]
    fn each_parameter_is_a_word_before_the_dashes() {
        for (kernel, word) in [
            (KernelParameters { terminal: true, ..PLAIN }, "terminal"),
            (KernelParameters { audit: true, ..PLAIN }, "audit"),
            (KernelParameters { dump_address_space: true, ..PLAIN }, "dump-address-space"),
        ] {
            assert_eq!(build(kernel, &[], &[]).unwrap(), format!("log=info {word}"));
        }
        let all = KernelParameters { terminal: true, audit: true, dump_address_space: true, ..PLAIN };
        let line = build(all, &[], &arguments(&["audit"])).unwrap();
        assert_eq!(line, "log=info terminal audit dump-address-space -- audit");
    }

    #[test]
    fn variables_stand_before_the_dashes_whatever_they_hold() {
        let variable = |value: &str| Variable { name: "NAME".into(), value: value.into() };
        let line = build(PLAIN, &[variable("a -- b"), variable("c")], &arguments(&["d"])).unwrap();
        assert_eq!(line, "log=info env=NAME=\"a -- b\" env=NAME=c -- d");
        assert_eq!(split(&line).1, "d");
    }

    #[test]
    fn what_a_command_line_cannot_carry_is_refused() {
        let not_utf8 = [OsString::from_vec(vec![b'a', 0xff])];
        assert!(matches!(build(PLAIN, &[], &not_utf8), Err(Error::ArgumentNotUtf8(_))));
        assert!(matches!(build(PLAIN, &[], &arguments(&["a\0b"])), Err(Error::ArgumentWithNul(_))));
    }

    #[test]
    fn the_longest_line_has_room_for_its_nul() {
        let room = COMMAND_LINE_LEN_MAX - 1 - "log=info -- ".len();
        assert_eq!(
            build(PLAIN, &[], &arguments(&[&"a".repeat(room)])).unwrap().len(),
            COMMAND_LINE_LEN_MAX - 1
        );
        let too_long = build(PLAIN, &[], &arguments(&[&"a".repeat(room + 1)]));
        let expected = COMMAND_LINE_LEN_MAX + 1;
        assert!(matches!(too_long, Err(Error::CommandLineTooLong { len_bytes }) if len_bytes == expected));
    }
}
