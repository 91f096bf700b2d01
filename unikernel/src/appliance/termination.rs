//! What an application may return.

use core::fmt::{self, Display, Write};
use guest_interface::status::ApplicationStatus;

/// What an application may return: its status, nothing, or a result.
///
/// `Ok` ends with the status of what it holds. `Err` is printed on the console, whatever the log level, as one line behind
/// `error: `, and ends with [`ApplicationStatus::FAILURE`]. The line is the error's alternate form (`{:#}`), in which some
/// errors tell their causes, too.
#[diagnostic::on_unimplemented(
    message = "an application can't return `{Self}`",
    label = "it may return `ApplicationStatus`, `()`, or a `Result` of one of them whose error implements `Display`"
)]
pub trait Termination {
    /// The status to end with. Says what there is to say before.
    fn status(self) -> ApplicationStatus;
}

impl Termination for ApplicationStatus {
    fn status(self) -> ApplicationStatus {
        self
    }
}

impl Termination for () {
    fn status(self) -> ApplicationStatus {
        ApplicationStatus::SUCCESS
    }
}

impl<T: Termination, E: Display> Termination for Result<T, E> {
    fn status(self) -> ApplicationStatus {
        match self {
            Ok(value) => value.status(),
            Err(error) => {
                crate::println!("{}", ErrorLine(error));
                ApplicationStatus::FAILURE
            }
        }
    }
}

/// Displays an error as one line.
struct ErrorLine<E>(E);

impl<E: Display> Display for ErrorLine<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("error: ")?;
        write!(OneLine(formatter), "{:#}", self.0)
    }
}

/// Writes control characters, line ends among them, as Rust's literals have them.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            let control = part.chars().next_back().filter(|last| last.is_control());
            let plain = &part[..part.len() - control.map_or(0, char::len_utf8)];
            self.0.write_str(plain)?;
            if let Some(control) = control {
                write!(self.0, "{}", control.escape_default())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn what_went_well_ends_with_its_own_status() {
        let seven = ApplicationStatus::new(7).unwrap();
        assert_eq!(seven.status(), seven);
        assert_eq!(().status(), ApplicationStatus::SUCCESS);
        assert_eq!(Ok::<_, &str>(()).status(), ApplicationStatus::SUCCESS);
        assert_eq!(Ok::<_, &str>(seven).status(), seven);
    }

    #[test]
    fn an_error_is_one_line_whatever_it_displays() {
        for (error, line) in [
            ("no disk", "error: no disk"),
            ("", "error: "),
            ("first\nsecond\r\n", "error: first\\nsecond\\r\\n"),
            ("\u{1b}[2Jüber\t", "error: \\u{1b}[2Jüber\\t"),
        ] {
            assert_eq!(ErrorLine(error).to_string(), line);
        }
    }

    #[test]
    fn an_error_tells_its_causes_if_it_can() {
        struct Caused;
        impl Display for Caused {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(if formatter.alternate() { "outer: inner" } else { "outer" })
            }
        }
        assert_eq!(format!("{}", ErrorLine(Caused)), "error: outer: inner");
    }
}
