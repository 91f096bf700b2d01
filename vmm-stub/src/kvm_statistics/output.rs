//! Where `--stats` writes its document: a file, or standard output for `-`.

use super::document::Document;
use crate::document_file::{DocumentFile, DocumentKind};
use crate::error::Error;
use std::io::{self, Write};
use std::path::Path;

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
    /// Those of [`DocumentFile::prepare`].
    pub(crate) fn prepare(given: &Path) -> Result<Self, Error> {
        if given.as_os_str() == STDOUT {
            return Ok(Self::Stdout);
        }
        DocumentFile::prepare(DocumentKind::Statistics, given).map(Self::File)
    }

    /// Writes the document as a line of its own; `is_in_line` says that standard output is in the middle of one.
    ///
    /// # Errors
    /// [`Error::DocumentLost`], [`Error::StatisticsNotPrinted`].
    pub(crate) fn write(&self, document: &Document, is_in_line: bool) -> Result<(), Error> {
        match self {
            Self::File(file) => file.write(format!("{document}\n").as_bytes()),
            Self::Stdout => {
                let line = format!("{}{document}\n", if is_in_line { "\n" } else { "" });
                let mut stdout = io::stdout();
                let printed = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
                printed.map_err(Error::StatisticsNotPrinted)
            }
        }
    }
}
