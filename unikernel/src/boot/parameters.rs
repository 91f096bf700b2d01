//! Kernel parameters: the words of the command line before its first lone `--`.

use super::BootError;
use guest_interface::command_line::{LOG, split};
use log::LevelFilter;

/// Log level without a `log=` parameter.
const DEFAULT_LEVEL: LevelFilter = LevelFilter::Info;

/// A command line, split and with its kernel parameters read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters<'a> {
    /// The log level.
    pub(super) level: LevelFilter,
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
        for word in kernel.split_whitespace() {
            if let Some((LOG, value)) = word.split_once('=') {
                level = value.parse().map_err(|_| BootError::UnknownLogLevel)?;
            }
        }
        Ok(Self { level, arguments, kernel })
    }

    /// The parameters that this kernel does not know.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &'a str> {
        self.kernel.split_whitespace().filter(|word| !matches!(word.split_once('='), Some((LOG, _))))
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
    fn what_is_not_ours_is_listed_and_arguments_are_kept() {
        let parameters = Parameters::read("pci=off log=info catalog=1 -- --seed 3").unwrap();
        assert_eq!(parameters.unknown().collect::<Vec<_>>(), ["pci=off", "catalog=1"]);
        assert_eq!(parameters.arguments, "--seed 3");
    }
}
