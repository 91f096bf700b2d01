//! The command line that goes into an image.

use crate::error::CommandLineError;
use guest_interface::command_line::builder::{CommandLineBuilder, TooLong};
use guest_interface::command_line::{LOG, Words};
use guest_interface::environment::{Variable, is_name};

/// The line `log=LEVEL env=NAME=value -- ARGUMENTS`, without dashes if there are no arguments. `variables` are `NAME=value`
/// each, not quoted. `arguments` are words as on a guest's command line: separated by white space, in double quotes where
/// they hold some.
///
/// # Errors
/// [`CommandLineError`].
pub fn build(log_level: &str, variables: &[String], arguments: &str) -> Result<String, CommandLineError> {
    let mut texts = variables.iter().map(String::as_str).chain([arguments]);
    if texts.any(|text| text.contains('\0')) {
        return Err(CommandLineError::Nul);
    }
    let mut line = CommandLineBuilder::default();
    line.add(format_args!("{LOG}={log_level}"));
    for given in variables {
        line.add(variable(given)?);
    }
    line.set_arguments(Words::new(arguments));
    line.build().map_err(|TooLong { len_bytes }| CommandLineError::TooLong { len_bytes })
}

fn variable(given: &str) -> Result<Variable, CommandLineError> {
    let (name, value) = given
        .split_once('=')
        .filter(|(name, _)| is_name(name))
        .ok_or_else(|| CommandLineError::Variable { given: given.into() })?;
    Ok(Variable { name: name.into(), value: value.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::command_line::{QuotedWords, split};
    use guest_interface::layout::COMMAND_LINE_LEN_MAX;

    #[test]
    fn the_guest_reads_the_words() {
        let line = build("debug", &[], "--size 4M \"two words\" \"\"").unwrap();
        let (kernel, application) = split(&line);
        assert_eq!(kernel, "log=debug ");
        assert_eq!(Words::new(application).collect::<Vec<_>>(), ["--size", "4M", "two words", ""]);
        assert_eq!(build("info", &[], " ").unwrap(), "log=info");
    }

    #[test]
    fn variables_are_kernel_parameters() {
        let line = build("info", &["A=1".into(), "GREETING=good day=\"\"".into()], "one").unwrap();
        let (kernel, application) = split(&line);
        let variables: Vec<Variable> =
            QuotedWords::new(kernel).filter_map(|word| Variable::read(word.strip_prefix("env=")?)).collect();
        let variable = |name: &str, value: &str| Variable { name: name.into(), value: value.into() };
        assert_eq!(variables, [variable("A", "1"), variable("GREETING", "good day=\"\"")]);
        assert_eq!(Words::new(application).collect::<Vec<_>>(), ["one"]);
        for given in ["", "A", "=1", "A B=1", "A\n=1", "\"A\"=1"] {
            let error = build("info", &[given.into()], "").unwrap_err();
            assert_eq!(error, CommandLineError::Variable { given: given.into() });
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        assert_eq!(build("info", &["A=\0".into()], ""), Err(CommandLineError::Nul));
    }

    #[test]
    fn what_a_command_line_cannot_carry_is_refused() {
        assert_eq!(build("info", &[], "a\0b"), Err(CommandLineError::Nul));
        let room = COMMAND_LINE_LEN_MAX - "log=info -- \0".len();
        assert_eq!(build("info", &[], &"a".repeat(room)).unwrap().len(), COMMAND_LINE_LEN_MAX - 1);
        let len_bytes = COMMAND_LINE_LEN_MAX + 1;
        assert_eq!(build("info", &[], &"a".repeat(room + 1)), Err(CommandLineError::TooLong { len_bytes }));
    }
}
