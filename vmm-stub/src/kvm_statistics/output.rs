//! Where `--stats` writes its document: a file, or standard output for `-`.

use super::document::Document;
use crate::devices::console;
use crate::document_file::{DocumentFile, DocumentKind};
use crate::error::Error;
use crate::files_in_use::FilesInUse;
use crate::standard_output;
use crate::stoppable_thread::{StoppableThread, Wake};
use crate::wait::Signals;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// What stands for standard output.
const STDOUT: &str = "-";

#[derive(Debug)]
pub(crate) enum Output {
    Stdout,
    File(DocumentFile),
}

impl Output {
    /// Checks that it can be written.
    ///
    /// # Errors
    /// [`Error::NoStdout`], and those of [`DocumentFile::prepare`].
    pub(crate) fn prepare(given: &Path, in_use: &FilesInUse) -> Result<Self, Error> {
        match given.as_os_str() == STDOUT {
            true if standard_output::can_be_written() => Ok(Self::Stdout),
            true => Err(Error::NoStdout),
            false => DocumentFile::prepare(DocumentKind::Statistics, given, in_use).map(Self::File),
        }
    }

    /// Writes the document as a line of its own.
    ///
    /// # Errors
    /// [`Error::DocumentLost`], [`Error::StatisticsNotPrinted`], and [`Error::System`] for what the host refuses meanwhile.
    pub(crate) fn write(&self, document: &Document, stdout: &Stdout<'_>) -> Result<(), Error> {
        match self {
            Self::File(file) => file.write(format!("{document}\n").as_bytes()),
            Self::Stdout => stdout
                .print(format!("{}{document}\n", if stdout.is_in_line { "\n" } else { "" }).into_bytes()),
        }
    }
}

/// Standard output behind a guest that has ended.
pub(crate) struct Stdout<'a> {
    /// Whether it is in the middle of a line.
    pub(crate) is_in_line: bool,
    /// What ends the wait for a reader that does not read: a signal that asks to stop, and this moment.
    pub(crate) signals: &'a Signals,
    pub(crate) deadline: Option<Instant>,
}

impl Stdout<'_> {
    /// Prints on a thread, because only a signal takes a write out of every kind of output that is full.
    fn print(&self, bytes: Vec<u8>) -> Result<(), Error> {
        let output = io::stdout().as_fd().try_clone_to_owned().map_err(Error::StatisticsNotPrinted)?;
        let mut output = File::from(output);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = StoppableThread::start("statistics", stop.clone(), move || {
            console::write_all(&mut output, &bytes, &stop).1
        })?;
        let wake = thread.wait(self.signals, self.deadline);
        thread.stop()?;
        let printed = thread.join()?;
        match wake? {
            Wake::Ended => printed,
            // It may have been taken in this moment.
            Wake::Timeout | Wake::Interrupted => printed.map_err(|_| io::Error::other("nobody reads it")),
        }
        .map_err(Error::StatisticsNotPrinted)
    }
}
