//! Variables for the application: kernel parameters of the form `env=NAME=value`.
//!
//! The value is quoted as arguments are. A name has no white space or control characters, `"`, `\\` or `=`, and at least
//! one character. Of several values for one name the last counts.

use crate::command_line::{Quoted, unquoted};
use alloc::string::String;
use core::fmt;

/// The kernel parameter that gives a variable.
pub const ENVIRONMENT: &str = "env";

/// Whether a variable can have this name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_odd = |character: char| {
        character.is_whitespace() || character.is_control() || matches!(character, '"' | '\\' | '=')
    };
    !name.is_empty() && !name.contains(is_odd)
}

/// A variable. It is displayed as the kernel parameter that gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// A name that [`is_name`] takes.
    pub name: String,
    /// Any value.
    pub value: String,
}

impl Variable {
    /// Reads the value, still quoted, of the parameter [`ENVIRONMENT`]: `NAME=value`.
    #[must_use]
    pub fn read(parameter: &str) -> Option<Self> {
        let (name, value) = parameter.split_once('=')?;
        is_name(name).then(|| Self { name: name.into(), value: unquoted(value) })
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{ENVIRONMENT}={}={}", self.name, Quoted(&self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::QuotedWords;
    use alloc::{format, vec::Vec};

    #[test]
    fn variables_are_read_back() {
        let values =
            ["plain", "", "two words", "a=b", "-- x", "\"quoted\" \\", "log=off", "line\nend", "ünï 世界"];
        let variables = values.map(|value| Variable { name: "NAME".into(), value: value.into() });
        let line: String = variables.iter().map(|variable| format!("{variable} ")).collect();
        let read: Vec<Variable> = QuotedWords::new(&line)
            .map(|word| word.strip_prefix("env=").and_then(Variable::read).unwrap())
            .collect();
        assert_eq!(read, variables);
    }

    #[test]
    fn what_has_no_name_or_no_value_is_no_variable() {
        for parameter in ["", "NAME", "=", "=value", "\"A\"=1", "A\\=1", "\"A B=1\"", "A\u{7f}=1"] {
            assert_eq!(Variable::read(parameter), None, "{parameter}");
        }
        for name in ["a", "A_B", "with.dot", "with-dash", "1", "größe"] {
            assert!(is_name(name), "{name}");
        }
    }
}
