//! The command line that a guest reads: the kernel's parameters, and the application's arguments.
//!
//! What this program is told goes before what a disk image says: a parameter takes the place of one of the same name,
//! a variable that of another value of it, and arguments that of all arguments. All else stays as the image says.

use crate::error::Error;
use guest_interface::command_line::builder::{CommandLineBuilder, TooLong};
use guest_interface::command_line::{AUDIT, DUMP_ADDRESS_SPACE, LOG, TERMINAL};
use guest_interface::environment::{ENVIRONMENT, Variable};
use std::ffi::OsString;

/// The line of an image that says nothing itself.
pub(crate) const DEFAULT: &str = "log=info";

/// What the kernel is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelParameters {
    /// Its log level, by the name it has on the command line.
    pub(crate) log_level: Option<&'static str>,
    /// Whether its console ends at a terminal.
    pub(crate) terminal: bool,
    /// Whether to audit page tables and frames when the application has ended.
    pub(crate) audit: bool,
    /// Whether to print the address space when the application has ended.
    pub(crate) dump_address_space: bool,
}

/// Builds the line `log=LEVEL -- ARGS`, with a word before the dashes for each parameter that is set and each variable, and
/// without dashes if there are no arguments. What is not given here stays as it is in `line`, an image's own or [`DEFAULT`].
///
/// # Errors
/// For an argument that is not UTF-8 or holds a NUL, and [`Error::CommandLineTooLong`].
pub(crate) fn build(
    line: &str,
    kernel: KernelParameters,
    environment: &[Variable],
    arguments: &[OsString],
) -> Result<String, Error> {
    let mut line = CommandLineBuilder::from_line(line);
    if let Some(level) = kernel.log_level {
        line.remove(LOG);
        line.add(format_args!("{LOG}={level}"));
    }
    let words =
        [(kernel.terminal, TERMINAL), (kernel.audit, AUDIT), (kernel.dump_address_space, DUMP_ADDRESS_SPACE)];
    for (_, word) in words.into_iter().filter(|(is_set, _)| *is_set) {
        line.remove(word);
        line.add(word);
    }
    for variable in environment {
        line.remove(&format!("{ENVIRONMENT}={}", variable.name));
    }
    environment.iter().for_each(|variable| line.add(variable));
    if !arguments.is_empty() {
        line.set_arguments(arguments.iter().map(|given| argument(given)).collect::<Result<Vec<_>, _>>()?);
    }
    line.build().map_err(|TooLong { len_bytes }| Error::CommandLineTooLong { len_bytes })
}

/// What [`build`] made of an image's own line, if that says anything else.
pub(crate) fn replacement(own: &str, built: String) -> Option<String> {
    let is_same = CommandLineBuilder::from_line(own).build().is_ok_and(|line| line == built);
    (!is_same).then_some(built)
}

fn argument(given: &OsString) -> Result<&str, Error> {
    let argument = given.to_str().ok_or_else(|| Error::ArgumentNotUtf8(given.clone()))?;
    if argument.contains('\0') { Err(Error::ArgumentWithNul(argument.to_owned())) } else { Ok(argument) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::command_line::{Words, split};
    use guest_interface::layout::COMMAND_LINE_LEN_MAX;
    use std::os::unix::ffi::OsStringExt;

    const PLAIN: KernelParameters =
        KernelParameters { log_level: None, terminal: false, audit: false, dump_address_space: false };

    fn arguments(arguments: &[&str]) -> Vec<OsString> {
        arguments.iter().map(OsString::from).collect()
    }

    fn build_new(kernel: KernelParameters, arguments: &[OsString]) -> Result<String, Error> {
        build(DEFAULT, kernel, &[], arguments)
    }

    fn variable(name: &str, value: &str) -> Variable {
        Variable { name: name.into(), value: value.into() }
    }

    #[test]
    fn the_guest_reads_back_what_was_given() {
        let given = ["--seed", "7", "two words", "", "--", "a\"b"];
        let debug = KernelParameters { log_level: Some("debug"), ..PLAIN };
        let line = build_new(debug, &arguments(&given)).unwrap();
        let (kernel, application) = split(&line);
        assert_eq!(Words::new(kernel).collect::<Vec<_>>(), ["log=debug"]);
        assert_eq!(Words::new(application).collect::<Vec<_>>(), given);
    }

    #[test]
    fn without_arguments_there_is_only_the_level() {
        assert_eq!(build_new(PLAIN, &[]).unwrap(), "log=info");
    }

    #[test]
    fn each_parameter_is_a_word_before_the_dashes() {
        for (kernel, word) in [
            (KernelParameters { terminal: true, ..PLAIN }, "terminal"),
            (KernelParameters { audit: true, ..PLAIN }, "audit"),
            (KernelParameters { dump_address_space: true, ..PLAIN }, "dump-address-space"),
        ] {
            assert_eq!(build_new(kernel, &[]).unwrap(), format!("log=info {word}"));
        }
        let all = KernelParameters { terminal: true, audit: true, dump_address_space: true, ..PLAIN };
        let line = build_new(all, &arguments(&["audit"])).unwrap();
        assert_eq!(line, "log=info terminal audit dump-address-space -- audit");
    }

    #[test]
    fn variables_stand_before_the_dashes_whatever_they_hold() {
        let variables = [variable("A", "a -- b"), variable("B", "c"), variable("B", "d")];
        let line = build(DEFAULT, PLAIN, &variables, &arguments(&["e"])).unwrap();
        assert_eq!(line, "log=info env=A=\"a -- b\" env=B=c env=B=d -- e");
        assert_eq!(split(&line).1, "e");
    }

    #[test]
    fn what_is_not_given_stays_as_an_image_says() {
        const LINE: &str = "log=warn env=A=1 env=B=\"2 3\" audit -- old \"old too\"";
        assert_eq!(build(LINE, PLAIN, &[], &[]).unwrap(), LINE);
        let error = KernelParameters { log_level: Some("error"), audit: true, ..PLAIN };
        assert_eq!(
            build(LINE, error, &[variable("A", "4"), variable("C", "5")], &[]).unwrap(),
            "env=B=\"2 3\" log=error audit env=A=4 env=C=5 -- old \"old too\""
        );
        assert_eq!(
            build(LINE, PLAIN, &[], &arguments(&["new"])).unwrap(),
            "log=warn env=A=1 env=B=\"2 3\" audit -- new"
        );
    }

    /// An empty line is nothing that QEMU can be told.
    #[test]
    fn a_line_is_replaced_only_by_one_that_says_anything_else() {
        for own in ["", "  ", "--", "log=info", " log=warn  audit --  one", "env=A=\"open"] {
            let built = build(own, PLAIN, &[], &[]).unwrap();
            assert_eq!(replacement(own, built), None, "{own:?}");
            let built = build(own, PLAIN, &[], &arguments(&["new"])).unwrap();
            assert_eq!(replacement(own, built.clone()), Some(built), "{own:?}");
        }
    }

    #[test]
    fn what_a_command_line_cannot_carry_is_refused() {
        let not_utf8 = [OsString::from_vec(vec![b'a', 0xff])];
        assert!(matches!(build_new(PLAIN, &not_utf8), Err(Error::ArgumentNotUtf8(_))));
        assert!(matches!(build_new(PLAIN, &arguments(&["a\0b"])), Err(Error::ArgumentWithNul(_))));
        let too_long = build_new(PLAIN, &arguments(&[&"a".repeat(COMMAND_LINE_LEN_MAX)]));
        let expected = COMMAND_LINE_LEN_MAX + "log=info -- \0".len();
        assert!(matches!(too_long, Err(Error::CommandLineTooLong { len_bytes }) if len_bytes == expected));
    }
}
