//! What can go wrong, each as one line.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why no crate was written.
#[derive(Debug, Error)]
pub enum Error {
    /// A path such as `/` or `..`.
    #[error("{path:?} has no last component to name the crate by; give a path that ends with one")]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// No name that cargo takes.
    #[error(
        "{name:?} is no name for a crate; give a path whose last component is a letter and then letters, digits, - or _"
    )]
    InvalidName {
        /// The last component.
        name: String,
    },
    /// A name that cargo, Rust or the crate's dependency has.
    #[error("a crate named {name:?} gets into the way of {owner}; give a path that ends with another name")]
    TakenName {
        /// The last component.
        name: String,
        /// Who has it.
        owner: &'static str,
    },
    /// Something is there.
    #[error("{path:?} is there, and not an empty folder; give a path where there is nothing")]
    Occupied {
        /// What is there.
        path: PathBuf,
    },
    /// Cargo would take the crate into Freehold's workspace.
    #[error("{path:?} lies inside Freehold's own workspace, {freehold:?}; give a path outside")]
    InsideWorkspace {
        /// The folder.
        path: PathBuf,
        /// The workspace.
        freehold: PathBuf,
    },
    /// A folder that would have to be made to be left again.
    #[error("{path:?} goes up from a folder that is not there; give a path without ..")]
    UpFromNowhere {
        /// The path.
        path: PathBuf,
    },
    /// Cargo's files are UTF-8.
    #[error("{path:?} is not UTF-8, as paths in cargo's files are; give Freehold's checkout another place")]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// A folder that can't be looked at.
    #[error("can't read {path:?}: {source}; give another path")]
    Read {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file or its folder can't be written.
    #[error("can't write {path:?}: {source}; give a path where you may write")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
