//! Kernel parameters: the words of the command line before its first lone `--`.

use super::BootError;
use guest_interface::command_line::{AUDIT, DUMP_ADDRESS_SPACE, LOG, QuotedWords, TERMINAL, split};
use guest_interface::environment::ENVIRONMENT;
use log::LevelFilter;

/// Log level without a `log=` parameter.
const DEFAULT_LEVEL: LevelFilter = LevelFilter::Info;

/// A command line, split and with its kernel parameters read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters<'a> {
    /// The log level.
    pub(super) level: LevelFilter,
    /// Whether the console ends at a terminal.
    pub(super) terminal: bool,
    /// Whether the page tables shall be audited at the end.
    pub(super) audit: bool,
    /// Whether the address space shall be printed at the end.
    pub(super) dump: bool,
    /// The application's part, still quoted.
    pub(super) arguments: &'a str,
    kernel: &'a str,
}

impl<'a> Parameters<'a> {
    /// Reads a command line. Unknown parameters are not errors: VMMs add some of their own.
    ///
    /// # Errors
    /// [`BootError::UnknownLogLevel`].
    pub(super) fn read(line: &'a str) -> Result<Self, BootError> {
        let (kernel, arguments) = split(line);
        let mut level = DEFAULT_LEVEL;
        let has = |wanted: &str| QuotedWords::new(kernel).any(|word| word == wanted);
        for word in QuotedWords::new(kernel) {
            if let Some((LOG, value)) = word.split_once('=') {
                level = value.parse().map_err(|_| BootError::UnknownLogLevel)?;
            }
        }
        let (terminal, audit, dump) = (has(TERMINAL), has(AUDIT), has(DUMP_ADDRESS_SPACE));
        Ok(Self { level, terminal, audit, dump, arguments, kernel })
    }

    /// The parameters that this kernel does not know.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &'a str> {
        let known = |word: &str| {
            [TERMINAL, AUDIT, DUMP_ADDRESS_SPACE].contains(&word)
                || matches!(word.split_once('='), Some((LOG | ENVIRONMENT, _)))
        };
        QuotedWords::new(self.kernel).filter(move |word| !known(word))
    }

    /// What stands behind each `env=`, still quoted.
    pub(super) fn environment(&self) -> impl Iterator<Item = &'a str> {
        QuotedWords::new(self.kernel).filter_map(|word| match word.split_once('=') {
            Some((ENVIRONMENT, variable)) => Some(variable),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn levels_are_the_names_of_the_log_crate() {
        assert_eq!(Parameters::read("").unwrap().level, LevelFilter::Info);
        assert_eq!(Parameters::read("log=off").unwrap().level, LevelFilter::Off);
        assert_eq!(Parameters::read("quiet log=trace -- log=off").unwrap().level, LevelFilter::Trace);
        assert_eq!(Parameters::read("log=loud"), Err(BootError::UnknownLogLevel));
        assert_eq!(Parameters::read("log="), Err(BootError::UnknownLogLevel));
    }

    #[test]
    fn a_terminal_is_a_whole_word_before_the_arguments() {
        assert!(Parameters::read("log=info terminal -- x").unwrap().terminal);
        for line in ["", "-- terminal", "terminal=no", "terminals"] {
            assert!(!Parameters::read(line).unwrap().terminal, "{line:?}");
        }
    }

    #[test]
    fn what_is_done_at_the_end_is_asked_for_before_the_arguments() {
        let asked = |line| Parameters::read(line).map(|parameters| (parameters.audit, parameters.dump));
        assert_eq!(asked("audit log=info dump-address-space -- x"), Ok((true, true)));
        assert_eq!(asked("log=info -- audit dump-address-space"), Ok((false, false)));
        assert_eq!(Parameters::read("audit dump-address-space").unwrap().unknown().count(), 0);
    }

    #[test]
    fn what_is_not_ours_is_listed_and_arguments_are_kept() {
        let parameters =
            Parameters::read("pci=off log=info catalog=1 terminal terminal=1 -- --seed 3").unwrap();
        assert_eq!(parameters.unknown().collect::<Vec<_>>(), ["pci=off", "catalog=1", "terminal=1"]);
        assert_eq!(parameters.arguments, "--seed 3");
    }
    #[test]
    fn variables_keep_their_quotes_and_hide_what_is_in_them() {
        let line = r#"env=A=1 log=warn env=B="x -- log=off audit" environment env -- env=C=2"#;
        let parameters = Parameters::read(line).unwrap();
        assert_eq!(parameters.environment().collect::<Vec<_>>(), ["A=1", r#"B="x -- log=off audit""#]);
        assert_eq!((parameters.level, parameters.audit), (LevelFilter::Warn, false));
        assert_eq!(parameters.unknown().collect::<Vec<_>>(), ["environment", "env"]);
        assert_eq!(parameters.arguments, "env=C=2");
    }
}
