//! The command line that goes into an image.

use crate::error::CommandLineError;
use guest_interface::command_line::builder::{CommandLineBuilder, TooLong};
use guest_interface::command_line::{LOG, Words};

/// The line `log=LEVEL -- ARGUMENTS`, without dashes if there are no arguments. `arguments` are words as on a guest's command
/// line: separated by white space, in double quotes where they hold some.
///
/// # Errors
/// [`CommandLineError`].
pub fn build(log_level: &str, arguments: &str) -> Result<String, CommandLineError> {
    if arguments.contains('\0') {
        return Err(CommandLineError::Nul);
    }
    let mut line = CommandLineBuilder::default();
    line.add(format_args!("{LOG}={log_level}"));
    line.set_arguments(Words::new(arguments));
    line.build().map_err(|TooLong { len_bytes }| CommandLineError::TooLong { len_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::command_line::split;
    use guest_interface::layout::COMMAND_LINE_LEN_MAX;

    #[test]
    fn the_guest_reads_the_words() {
        let line = build("debug", "--size 4M \"two words\" \"\"").unwrap();
        let (kernel, application) = split(&line);
        assert_eq!(kernel, "log=debug ");
        assert_eq!(Words::new(application).collect::<Vec<_>>(), ["--size", "4M", "two words", ""]);
        assert_eq!(build("info", " ").unwrap(), "log=info");
    }

    #[test]
    fn what_a_command_line_cannot_carry_is_refused() {
        assert_eq!(build("info", "a\0b"), Err(CommandLineError::Nul));
        let room = COMMAND_LINE_LEN_MAX - "log=info -- \0".len();
        assert_eq!(build("info", &"a".repeat(room)).unwrap().len(), COMMAND_LINE_LEN_MAX - 1);
        let len_bytes = COMMAND_LINE_LEN_MAX + 1;
        assert_eq!(build("info", &"a".repeat(room + 1)), Err(CommandLineError::TooLong { len_bytes }));
    }
}
