//! Puts a guest's command line together, from nothing or from a line there is. The form is that of
//! [`command_line`](crate::command_line).

use crate::command_line::{Quoted, QuotedWords, SEPARATOR, split};
use crate::layout::COMMAND_LINE_LEN_MAX;
use alloc::string::String;
use core::fmt::{Display, Write};

/// A line that a guest can't be given: with its NUL it is longer than [`COMMAND_LINE_LEN_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Its length with the NUL, in bytes.
    pub len_bytes: usize,
}

/// A command line that is not finished. What it is given is not looked at: whoever can have a NUL in it has to.
#[derive(Clone, Debug, Default)]
pub struct CommandLineBuilder {
    /// Each word with a space in front of it.
    kernel: String,
    arguments: String,
}

impl CommandLineBuilder {
    /// All that a line says. A quote that is never closed ends with the line, and is closed there.
    #[must_use]
    pub fn from_line(line: &str) -> Self {
        let mut builder = Self::default();
        let (kernel, arguments) = split(line);
        for (part, words) in [(&mut builder.kernel, kernel), (&mut builder.arguments, arguments)] {
            QuotedWords::new(words).for_each(|word| part.extend([" ", word]));
            close(part);
        }
        builder
    }

    /// Takes out the kernel parameter of this name, as often as it is there.
    pub fn remove(&mut self, name: &str) {
        let is_other = |word: &&str| {
            word.strip_prefix(name).is_none_or(|rest| !rest.is_empty() && !rest.starts_with('='))
        };
        let mut kernel = String::new();
        QuotedWords::new(&self.kernel).filter(is_other).for_each(|word| kernel.extend([" ", word]));
        self.kernel = kernel;
    }

    /// Adds a kernel parameter as it stands in a line: `name`, or `name=value` with a quoted value.
    pub fn add(&mut self, parameter: impl Display) {
        // Writing to a String can't fail.
        let _ = write!(self.kernel, " {parameter}");
    }

    /// Gives the application these arguments, not quoted yet, in the place of those that were there.
    pub fn set_arguments<S: AsRef<str>>(&mut self, arguments: impl IntoIterator<Item = S>) {
        self.arguments.clear();
        for argument in arguments {
            let _ = write!(self.arguments, " {}", Quoted(argument.as_ref()));
        }
    }

    /// The line, without dashes if there are no arguments.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn build(self) -> Result<String, TooLong> {
        let mut line = self.kernel;
        if !self.arguments.is_empty() {
            line.extend([" ", SEPARATOR, &self.arguments]);
        }
        // The space of the first word.
        let line: String = line.strip_prefix(' ').map(String::from).unwrap_or_default();
        let len_bytes = line.len() + 1;
        if len_bytes > COMMAND_LINE_LEN_MAX { Err(TooLong { len_bytes }) } else { Ok(line) }
    }
}

/// Closes the quote that words end in, if they do: what is put behind them would be a part of the last.
fn close(words: &mut String) {
    let (mut quoted, mut escaped) = (false, false);
    for character in words.chars() {
        quoted ^= character == '"' && !escaped;
        escaped = quoted && character == '\\' && !escaped;
    }
    if escaped {
        // A backslash before nothing stands for nothing.
        words.pop();
    }
    if quoted {
        words.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::Words;
    use alloc::format;
    use alloc::vec::Vec;

    #[test]
    fn a_line_stays_as_it_is() {
        for line in
            ["", "log=info", "log=info -- one \"two words\" \"\" --", "env=A=\"b -- c\" audit", "-- x"]
        {
            assert_eq!(CommandLineBuilder::from_line(line).build().as_deref(), Ok(line));
        }
        let untidy = CommandLineBuilder::from_line("  a\t b  --  c ").build();
        assert_eq!(untidy.as_deref(), Ok("a b -- c"));
        assert_eq!(CommandLineBuilder::from_line("a --").build().as_deref(), Ok("a"));
    }

    /// What is added must not end up in the last word's quotes, where nobody would see it.
    #[test]
    fn a_quote_that_is_never_closed_hides_nothing_behind_it() {
        for last in [r#"env=A="1 2"#, r#"a"b c\"d"#, r#"env=A="\"#, r#"x""#, r#"env=A="1\\"#] {
            let in_front: Vec<_> = Words::new(last).collect();
            let mut builder = CommandLineBuilder::from_line(last);
            builder.add("audit");
            builder.set_arguments(["one"]);
            let line = builder.build().unwrap();
            let (kernel, arguments) = split(&line);
            assert_eq!(
                Words::new(kernel).collect::<Vec<_>>(),
                [&in_front[..], &["audit".into()]].concat(),
                "{last}"
            );
            assert_eq!(arguments, "one");
            let line = CommandLineBuilder::from_line(&format!("audit -- {last}")).build().unwrap();
            assert_eq!(Words::new(split(&line).1).collect::<Vec<_>>(), in_front);
        }
    }

    #[test]
    fn a_parameter_is_removed_by_its_whole_name() {
        let remove = |line, name| {
            let mut builder = CommandLineBuilder::from_line(line);
            builder.remove(name);
            builder.add("new=1");
            builder.build().unwrap()
        };
        assert_eq!(remove("log=info audit log=warn -- log=info", "log"), "audit new=1 -- log=info");
        assert_eq!(remove("logs=1 xlog=2 audit", "log"), "logs=1 xlog=2 audit new=1");
        assert_eq!(remove("audit -- audit", "audit"), "new=1 -- audit");
        assert_eq!(remove("env=A=\"log=1 x\" env=AB=2 env=A=3", "env=A"), "env=AB=2 new=1");
        assert_eq!(remove("", "log"), "new=1");
    }

    #[test]
    fn arguments_take_the_place_of_all_others() {
        let given = ["--", "two words", "", "a\"b"];
        let mut builder = CommandLineBuilder::from_line("log=info -- old");
        builder.set_arguments(given);
        let line = builder.clone().build().unwrap();
        let (kernel, arguments) = split(&line);
        assert_eq!(kernel, "log=info ");
        assert_eq!(Words::new(arguments).collect::<Vec<_>>(), given);
        builder.set_arguments::<&str>([]);
        assert_eq!(builder.build().as_deref(), Ok("log=info"));
    }

    #[test]
    fn the_longest_line_has_room_for_its_nul() {
        let build = |len| {
            let mut builder = CommandLineBuilder::from_line("log=info");
            builder.set_arguments(["a".repeat(len)]);
            builder.build()
        };
        let room = COMMAND_LINE_LEN_MAX - "log=info -- \0".len();
        assert_eq!(build(room).unwrap().len(), COMMAND_LINE_LEN_MAX - 1);
        assert_eq!(build(room + 1), Err(TooLong { len_bytes: COMMAND_LINE_LEN_MAX + 1 }));
    }
}
