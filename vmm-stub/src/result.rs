//! The file of `--result`: checked before the start, written once at the end.
//!
//! The document goes to a new file in the same directory, which then takes the name. So the file holds a whole document
//! at any moment, and what it held before until there is another; a guest that publishes none changes nothing.

use crate::error::Error;
use nix::unistd::{AccessFlags, eaccess};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What a guest has published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Published {
    /// The last document that came whole.
    pub(crate) document: Option<Vec<u8>>,
    /// Documents that were too long or not in RAM.
    pub(crate) dropped: u64,
}

/// A file that could be written when the machine was started.
#[derive(Debug)]
pub(crate) struct ResultFile {
    /// As the user gave it, for messages.
    given: PathBuf,
    /// Without a link at its end, which would be replaced instead of followed.
    path: PathBuf,
}

impl ResultFile {
    /// Checks that a file can be written, and leaves it as it is.
    ///
    /// # Errors
    /// [`Error::ResultNotAFile`], [`Error::ResultUnwritable`].
    pub(crate) fn prepare(given: &Path) -> Result<Self, Error> {
        let unwritable = |source| Error::ResultUnwritable { path: given.to_owned(), source };
        if given.file_name().is_none() || given.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(Error::ResultNotAFile(given.to_owned()));
        }
        let path = match fs::symlink_metadata(given) {
            Ok(_) => {
                let path = fs::canonicalize(given).map_err(unwritable)?;
                // A device or FIFO would be replaced by a file.
                if !fs::metadata(&path).map_err(unwritable)?.is_file() {
                    return Err(Error::ResultNotAFile(given.to_owned()));
                }
                // It would be replaced without being written to, which is not what its protection asks for.
                eaccess(&path, AccessFlags::W_OK).map_err(|errno| unwritable(errno.into()))?;
                path
            }
            Err(error) if error.kind() == ErrorKind::NotFound => given.to_owned(),
            Err(error) => return Err(unwritable(error)),
        };
        let file = Self { given: given.to_owned(), path };
        // Only an attempt shows everything that can be in the way.
        let (_, temporary) = file.create_temporary().map_err(unwritable)?;
        fs::remove_file(temporary).map_err(unwritable)?;
        Ok(file)
    }

    /// Writes what a guest has published.
    ///
    /// # Errors
    /// [`Error::NoResult`], [`Error::ResultLost`]; the file is then as it was.
    pub(crate) fn write(&self, published: &Published) -> Result<(), Error> {
        let Some(document) = &published.document else {
            return Err(Error::NoResult { path: self.given.clone() });
        };
        self.replace(document).map_err(|source| Error::ResultLost { path: self.given.clone(), source })
    }

    fn replace(&self, document: &[u8]) -> io::Result<()> {
        let (mut file, temporary) = self.create_temporary()?;
        let replaced = file.write_all(document).and_then(|()| fs::rename(&temporary, &self.path));
        if replaced.is_err() {
            // What keeps it from being removed is not worth a second message.
            let _ = fs::remove_file(temporary);
        }
        replaced
    }

    /// Creates a file in the same directory. Its name does not hold that of the result, which may be as long as a name can
    /// be.
    fn create_temporary(&self) -> io::Result<(File, PathBuf)> {
        const ATTEMPTS: u32 = 16;
        let process = std::process::id();
        let mut attempt = 0;
        loop {
            let temporary = self.path.with_file_name(format!(".vmm-stub-result-{process}-{attempt}"));
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                // Left by a process of the same number that was killed, or in use by one of another machine or container.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < ATTEMPTS => attempt += 1,
                created => return created.map(|file| (file, temporary)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::status::VmmStatus;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A directory of one test, removed at its end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("vmm-stub-{test}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn published(document: &str) -> Published {
        Published { document: Some(document.into()), dropped: 0 }
    }

    #[test]
    fn a_document_replaces_the_file_and_leaves_nothing_else() {
        let directory = Directory::new("replaces");
        let path = directory.path("result.json");
        let file = ResultFile::prepare(&path).unwrap();
        assert!(directory.names().is_empty(), "the check leaves nothing");
        for text in ["{\"a\": 1}", "", "{}"] {
            file.write(&published(text)).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(directory.names(), ["result.json"]);
        }
    }

    #[test]
    fn without_a_document_the_file_stays_as_it_was() {
        let directory = Directory::new("stays");
        let path = directory.path("result.json");
        fs::write(&path, "before").unwrap();
        let file = ResultFile::prepare(&path).unwrap();
        let error = file.write(&Published { document: None, dropped: 2 }).unwrap_err();
        assert_eq!(error.status(), VmmStatus::VmmError);
        assert!(error.to_string().contains("result.json"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
    }

    #[test]
    fn a_link_is_followed_and_stays() {
        let directory = Directory::new("link");
        let (target, link) = (directory.path("target"), directory.path("link"));
        symlink(&target, &link).unwrap();
        assert!(
            matches!(ResultFile::prepare(&link), Err(Error::ResultUnwritable { .. })),
            "it leads nowhere"
        );
        fs::write(&target, "before").unwrap();
        ResultFile::prepare(&link).unwrap().write(&published("after")).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "after");
        assert_eq!(fs::read_link(&link).unwrap(), target);
    }

    #[test]
    fn the_longest_name_there_can_be_is_written() {
        let directory = Directory::new("longest");
        let path = directory.path(&"x".repeat(255));
        ResultFile::prepare(&path).unwrap().write(&published("{}")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
        let refused = ResultFile::prepare(&directory.path(&"x".repeat(256)));
        assert!(matches!(refused, Err(Error::ResultUnwritable { .. })));
    }

    #[test]
    fn a_leftover_of_a_killed_process_is_not_in_the_way() {
        let directory = Directory::new("leftover");
        let leftover = format!(".vmm-stub-result-{}-0", std::process::id());
        fs::write(directory.path(&leftover), "theirs").unwrap();
        ResultFile::prepare(&directory.path("mine")).unwrap().write(&published("{}")).unwrap();
        assert_eq!(directory.names(), [leftover, "mine".to_owned()]);
    }

    #[test]
    fn what_can_not_be_written_is_refused_in_one_line() {
        let directory = Directory::new("refused");
        let inside = directory.path("inside");
        fs::create_dir(&inside).unwrap();
        let not_files = [
            "/".into(),
            ".".into(),
            "..".into(),
            "".into(),
            "/dev/null".into(),
            inside,
            directory.path("new/"),
        ];
        for path in not_files {
            let error = ResultFile::prepare(&path).unwrap_err();
            assert_eq!(error.status(), VmmStatus::Refused, "{path:?}");
            assert!(matches!(error, Error::ResultNotAFile(_)), "{path:?}: {error}");
            assert!(!error.to_string().contains('\n'));
        }
        for path in [directory.path("missing/file"), "/proc/file".into(), "/etc/passwd/file".into()] {
            let error = ResultFile::prepare(&path).unwrap_err();
            assert_eq!(error.status(), VmmStatus::Refused, "{path:?}");
            assert!(matches!(error, Error::ResultUnwritable { .. }), "{path:?}: {error}");
        }
    }

    #[test]
    fn a_protected_file_or_directory_is_refused() {
        let directory = Directory::new("protected");
        let path = directory.path("result.json");
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).unwrap();
        if OpenOptions::new().append(true).open(&path).is_ok() {
            // Permissions don't bind root.
            return;
        }
        assert!(matches!(ResultFile::prepare(&path), Err(Error::ResultUnwritable { .. })));
        fs::set_permissions(&directory.0, PermissionsExt::from_mode(0o555)).unwrap();
        assert!(matches!(ResultFile::prepare(&directory.path("new")), Err(Error::ResultUnwritable { .. })));
        fs::set_permissions(&directory.0, PermissionsExt::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_document_that_can_not_be_written_is_an_error_of_the_vmm() {
        let directory = Directory::new("lost");
        let inside = directory.path("inside");
        fs::create_dir(&inside).unwrap();
        let file = ResultFile::prepare(&inside.join("result.json")).unwrap();
        fs::remove_dir(&inside).unwrap();
        let error = file.write(&published("{}")).unwrap_err();
        assert!(matches!(error, Error::ResultLost { .. }));
        assert_eq!(error.status(), VmmStatus::VmmError);

        fs::create_dir(&inside).unwrap();
        fs::create_dir(inside.join("result.json")).unwrap();
        assert!(file.write(&published("{}")).is_err(), "a directory has taken the name");
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 1, "nothing else is left there");
    }
}
