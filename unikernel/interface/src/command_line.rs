//! The form of the guest's command line: `kernel parameters -- application arguments`.
//!
//! Words are separated by white space. An argument that is empty or holds white space, quotes or backslashes is written
//! in double quotes, with a backslash before a double quote or backslash. Words before the first lone `--` are the
//! kernel's, in the form `name=value` or `name`, where the value may be quoted; those after it are the application's. Without
//! `--` there are no arguments. [`builder`] puts lines together.

pub mod builder;

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
    let mut words = QuotedWords::new(line);
    while let Some(word) = words.next() {
        if word == SEPARATOR {
            let kernel_len = line.len() - words.0.len() - SEPARATOR.len();
            return (&line[..kernel_len], words.0.strip_prefix(char::is_whitespace).unwrap_or(words.0));
        }
    }
    (line, "")
}

/// The words of one part of a command line, still quoted. Any string yields words: a quote that is never closed ends at
/// the end of the line.
pub struct QuotedWords<'a>(&'a str);

impl<'a> QuotedWords<'a> {
    /// The words of `line`.
    #[must_use]
    pub const fn new(line: &'a str) -> Self {
        Self(line)
    }
}

impl<'a> Iterator for QuotedWords<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let line = self.0.trim_start();
        let (mut quoted, mut escaped) = (false, false);
        let ends = |character: char| {
            if escaped {
                escaped = false;
                return false;
            }
            quoted ^= character == '"';
            escaped = quoted && character == '\\';
            !quoted && character.is_whitespace()
        };
        let (word, rest) = line.split_at(line.find(ends).unwrap_or(line.len()));
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// A word without its quotes.
#[must_use]
pub fn unquoted(word: &str) -> String {
    let mut plain = String::new();
    let mut quoted = false;
    let mut characters = word.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted = !quoted,
            '\\' if quoted => plain.extend(characters.next()),
            _ => plain.push(character),
        }
    }
    plain
}

/// The words of one part of a command line, unquoted.
pub struct Words<'a>(QuotedWords<'a>);

impl<'a> Words<'a> {
    /// The words of `line`.
    #[must_use]
    pub const fn new(line: &'a str) -> Self {
        Self(QuotedWords::new(line))
    }
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.0.next().map(unquoted)
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
        assert_eq!(split(r#"a="b -- c" d="\" -- " -- e -- f"#), (r#"a="b -- c" d="\" -- " "#, "e -- f"));
        assert_eq!(split("--\t a"), ("", " a"));
        assert_eq!(split(""), ("", ""));
    }

    #[test]
    fn malformed_quotes_still_yield_words() {
        assert_eq!(Words::new("\"open end").collect::<Vec<_>>(), ["open end"]);
        assert_eq!(Words::new("\"trailing\\").collect::<Vec<_>>(), ["trailing"]);
        assert_eq!(Words::new("a\" \"b \\c d\"\"").collect::<Vec<_>>(), ["a b", "\\c", "d"]);
        assert_eq!(Words::new(" \"\" ").collect::<Vec<_>>(), [""]);
        assert_eq!(Words::new("  ").next(), None);
    }
}
