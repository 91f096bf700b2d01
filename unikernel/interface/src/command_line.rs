//! The form of the guest's command line: `kernel parameters -- application arguments`.
//!
//! Words are separated by white space. An argument that is empty or holds white space, quotes or backslashes is written
//! in double quotes, with a backslash before a double quote or backslash. Words before the first lone `--` are the
//! kernel's, in the form `name=value` or `name`; those after it are the application's. Without `--` there are no arguments.

use alloc::string::String;
use core::fmt;

/// The word that separates kernel parameters from application arguments.
pub const SEPARATOR: &str = "--";

/// Kernel parameter that sets the log level: `log=off|error|warn|info|debug|trace`.
pub const LOG: &str = "log";

/// Kernel parameter without a value: the console ends at a terminal, where somebody watches.
pub const TERMINAL: &str = "terminal";

/// Kernel parameter without a value: audit the page tables when the application has ended.
pub const AUDIT: &str = "audit";

/// Kernel parameter without a value: print the address space when the application has ended.
pub const DUMP_ADDRESS_SPACE: &str = "dump-address-space";

/// Displays an argument in the quoted form that [`Words`] reads back.
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |character: char| !character.is_whitespace() && !matches!(character, '"' | '\\');
        // A first argument `--` needs no quotes: only the first separator counts.
        if !self.0.is_empty() && self.0.chars().all(plain) {
            return formatter.write_str(self.0);
        }
        formatter.write_str("\"")?;
        for character in self.0.chars() {
            if matches!(character, '"' | '\\') {
                formatter.write_str("\\")?;
            }
            write!(formatter, "{character}")?;
        }
        formatter.write_str("\"")
    }
}

/// Splits a command line at its first lone `--` into kernel parameters and application arguments, both still quoted.
#[must_use]
pub fn split(line: &str) -> (&str, &str) {
    let mut offset = 0;
    for word in line.split_inclusive(char::is_whitespace) {
        if word.trim_end() == SEPARATOR {
            return (&line[..offset], &line[offset + word.len()..]);
        }
        offset += word.len();
    }
    (line, "")
}

/// The words of one part of a command line, unquoted. Any string yields words: a quote that is never closed ends at the
/// end of the line.
pub struct Words<'a>(core::iter::Peekable<core::str::Chars<'a>>);

impl<'a> Words<'a> {
    /// The words of `line`.
    #[must_use]
    pub fn new(line: &'a str) -> Self {
        Self(line.chars().peekable())
    }
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        while self.0.next_if(|character| character.is_whitespace()).is_some() {}
        self.0.peek()?;
        let mut word = String::new();
        let mut quoted = false;
        while let Some(character) = self.0.next_if(|character| quoted || !character.is_whitespace()) {
            match character {
                '"' => quoted = !quoted,
                '\\' if quoted => word.extend(self.0.next()),
                _ => word.push(character),
            }
        }
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec::Vec};

    #[test]
    fn quoted_arguments_are_read_back() {
        let arguments = ["plain", "", "two words", "a\"quote", "back\\slash", "--", "tab\there", "ünï", "'"];
        let line = arguments.map(|argument| format!("{} ", Quoted(argument))).concat();
        assert_eq!(Words::new(&line).collect::<Vec<_>>(), arguments);
    }

    #[test]
    fn only_the_first_separator_separates() {
        assert_eq!(split("log=debug -- a -- b"), ("log=debug ", "a -- b"));
        assert_eq!(split("-- a"), ("", "a"));
        assert_eq!(split("log=info --"), ("log=info ", ""));
        assert_eq!(split("a --b c--"), ("a --b c--", ""));
        assert_eq!(split(""), ("", ""));
    }

    #[test]
    fn malformed_quotes_still_yield_words() {
        assert_eq!(Words::new("\"open end").collect::<Vec<_>>(), ["open end"]);
        assert_eq!(Words::new("\"trailing\\").collect::<Vec<_>>(), ["trailing"]);
        assert_eq!(Words::new("  ").next(), None);
    }
}
