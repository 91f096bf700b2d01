//! What keeps a lane from running, with what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A failure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("'{}' can't be {what}: {source}", path.display())]
    File { path: PathBuf, what: &'static str, source: io::Error },

    #[error("'{program}' is missing, which this lane needs; {advice}")]
    MissingProgram { program: String, advice: &'static str },

    #[error("`{command}` failed: {said}")]
    Command { command: String, said: String },

    #[error(
        "the Debian package '{package}' can't be fetched: {said}; check the network and the package lists \
         (`sudo apt-get update`)"
    )]
    Fetch { package: String, said: String },

    #[error("the package '{package}' has no '{file}': is this a Debian with a Linux that is not compressed?")]
    NotInPackage { package: &'static str, file: String },

    #[error("the emulator printed nothing for {idle:?} after \"{last_line}\"; its output is in '{}'", log.display())]
    Hung { idle: Duration, last_line: String, log: PathBuf },

    #[error("the lane did not end within {limit:?}; its output is in '{}'", log.display())]
    TooLong { limit: Duration, log: PathBuf },
}

impl Error {
    /// Whether another attempt may end otherwise.
    pub(crate) const fn may_pass_when_repeated(&self) -> bool {
        matches!(self, Self::Hung { .. })
    }

    /// Makes an error of a file's, saying what was tried: "read", "written".
    pub(crate) fn file(path: impl Into<PathBuf>, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, what, source }
    }
}
