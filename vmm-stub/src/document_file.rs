//! The files of `--result` and `--stats`: checked before the start, written once at the end.
//!
//! The document goes to a new file in the same directory, which then takes the name. So the file holds a whole document
//! at any moment, and what it held before until there is another.

use crate::error::Error;
use crate::files_in_use::FilesInUse;
use nix::unistd::{AccessFlags, eaccess};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What is written, with the option that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentKind {
    /// What the guest has published.
    Result,
    /// What KVM has counted.
    Statistics,
}

impl DocumentKind {
    /// The option whose value is the file.
    pub(crate) const fn option(self) -> &'static str {
        match self {
            Self::Result => "--result",
            Self::Statistics => "--stats",
        }
    }
}

impl fmt::Display for DocumentKind {
    /// Without an article.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Result => "result",
            Self::Statistics => "statistics document",
        })
    }
}

/// A file that could be written when the machine was started.
#[derive(Debug)]
pub(crate) struct DocumentFile {
    document: DocumentKind,
    /// As the user gave it, for messages.
    given: PathBuf,
    /// From the root on, and without links: one at its end would be replaced instead of followed.
    path: PathBuf,
}

impl DocumentFile {
    /// Checks that a file can be written, and leaves it as it is.
    ///
    /// # Errors
    /// [`Error::FileInUse`], [`Error::NotAFile`], [`Error::Unwritable`].
    pub(crate) fn prepare(document: DocumentKind, given: &Path, in_use: &FilesInUse) -> Result<Self, Error> {
        let unwritable = |source| Error::Unwritable { document, path: given.to_owned(), source };
        let not_a_file = || Error::NotAFile { document, path: given.to_owned() };
        if given.file_name().is_none() || given.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(not_a_file());
        }
        let path = match fs::symlink_metadata(given) {
            Ok(_) => {
                // Through links, and through those of /proc/self/fd also to what has no path.
                let metadata = fs::metadata(given).map_err(unwritable)?;
                if let Some(used_as) = in_use.find(&metadata) {
                    return Err(Error::FileInUse { document, path: given.to_owned(), used_as });
                }
                // A device or FIFO would be replaced by a file.
                if !metadata.is_file() {
                    return Err(not_a_file());
                }
                let path = fs::canonicalize(given).map_err(unwritable)?;
                // It would be replaced without being written to, which is not what its protection asks for.
                eaccess(&path, AccessFlags::W_OK).map_err(|errno| unwritable(errno.into()))?;
                path
            }
            Err(error) if error.kind() == ErrorKind::NotFound => in_whole(given).map_err(unwritable)?,
            Err(error) => return Err(unwritable(error)),
        };
        let file = Self { document, given: given.to_owned(), path };
        // Only an attempt shows everything that can be in the way.
        let (_, temporary) = file.create_temporary().map_err(unwritable)?;
        fs::remove_file(temporary).map_err(unwritable)?;
        Ok(file)
    }

    /// Whether both are written to the same place.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.path == other.path
    }

    /// The path as the user gave it.
    pub(crate) fn given(&self) -> &Path {
        &self.given
    }

    /// Writes the document.
    ///
    /// # Errors
    /// [`Error::DocumentLost`]; the file is then as it was.
    pub(crate) fn write(&self, contents: &[u8]) -> Result<(), Error> {
        let lost = |source| Error::DocumentLost { document: self.document, path: self.given.clone(), source };
        self.replace(contents).map_err(lost)
    }

    fn replace(&self, contents: &[u8]) -> io::Result<()> {
        let (mut file, temporary) = self.create_temporary()?;
        let replaced = file.write_all(contents).and_then(|()| fs::rename(&temporary, &self.path));
        if replaced.is_err() {
            // What keeps it from being removed is not worth a second message.
            let _ = fs::remove_file(temporary);
        }
        replaced
    }

    /// Creates a file in the same directory. Its name does not hold that of the document, which may be as long as a name
    /// can be.
    fn create_temporary(&self) -> io::Result<(File, PathBuf)> {
        const ATTEMPTS: u32 = 16;
        let process = std::process::id();
        let mut attempt = 0;
        loop {
            let temporary = self.path.with_file_name(format!(".vmm-stub-document-{process}-{attempt}"));
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                // Left by a process of the same number that was killed, or in use by one of another machine or container.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < ATTEMPTS => attempt += 1,
                created => return created.map(|file| (file, temporary)),
            }
        }
    }
}

/// The path from the root on of a file that is not there yet.
fn in_whole(given: &Path) -> io::Result<PathBuf> {
    let folder = given.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")))?;
    Ok(given.file_name().map_or_else(|| folder.clone(), |name| folder.join(name)))
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

    fn prepare(path: &Path) -> Result<DocumentFile, Error> {
        DocumentFile::prepare(DocumentKind::Result, path, &FilesInUse::default())
    }

    #[test]
    fn a_document_replaces_the_file_and_leaves_nothing_else() {
        let directory = Directory::new("replaces");
        let path = directory.path("result.json");
        let file = prepare(&path).unwrap();
        assert!(directory.names().is_empty(), "the check leaves nothing");
        for text in ["{\"a\": 1}", "", "{}"] {
            file.write(text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(directory.names(), ["result.json"]);
        }
    }

    #[test]
    fn a_link_is_followed_and_stays() {
        let directory = Directory::new("link");
        let (target, link) = (directory.path("target"), directory.path("link"));
        symlink(&target, &link).unwrap();
        assert!(matches!(prepare(&link), Err(Error::Unwritable { .. })), "it leads nowhere");
        fs::write(&target, "before").unwrap();
        prepare(&link).unwrap().write(b"after").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "after");
        assert_eq!(fs::read_link(&link).unwrap(), target);
    }

    #[test]
    fn the_image_is_not_replaced_by_whatever_name() {
        let directory = Directory::new("image");
        let (image, link, other) = (directory.path("image"), directory.path("link"), directory.path("other"));
        fs::write(&image, "").unwrap();
        fs::write(&other, "").unwrap();
        symlink(&image, &link).unwrap();
        let in_use = FilesInUse::look(&image, None);
        for document in [DocumentKind::Result, DocumentKind::Statistics] {
            for path in [&image, &link] {
                let error = DocumentFile::prepare(document, path, &in_use).unwrap_err();
                assert_eq!(error.status(), VmmStatus::Refused);
                let line = error.to_string();
                let advice = format!("which is the appliance; give {} another path", document.option());
                assert!(line.contains(&advice), "{line}");
            }
            DocumentFile::prepare(document, &other, &in_use).unwrap();
        }
    }

    #[test]
    fn two_ways_to_a_file_are_one_place() {
        let directory = Directory::new("same");
        let (target, link) = (directory.path("target"), directory.path("link"));
        let other_way = directory.0.join("../").join(directory.0.file_name().unwrap()).join("target");
        let is_same = |path: &Path| prepare(&target).unwrap().is_same_as(&prepare(path).unwrap());
        assert!(is_same(&other_way) && !is_same(&directory.path("other")), "of a file to come");
        fs::write(&target, "").unwrap();
        symlink(&target, &link).unwrap();
        assert!(is_same(&other_way) && is_same(&link) && !is_same(&directory.path("other")));
    }

    #[test]
    fn the_longest_name_there_can_be_is_written() {
        let directory = Directory::new("longest");
        let path = directory.path(&"x".repeat(255));
        prepare(&path).unwrap().write(b"{}").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
        let refused = prepare(&directory.path(&"x".repeat(256)));
        assert!(matches!(refused, Err(Error::Unwritable { .. })));
    }

    #[test]
    fn a_leftover_of_a_killed_process_is_not_in_the_way() {
        let directory = Directory::new("leftover");
        let leftover = format!(".vmm-stub-document-{}-0", std::process::id());
        fs::write(directory.path(&leftover), "theirs").unwrap();
        prepare(&directory.path("mine")).unwrap().write(b"{}").unwrap();
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
            let error = prepare(&path).unwrap_err();
            assert_eq!(error.status(), VmmStatus::Refused, "{path:?}");
            assert!(matches!(error, Error::NotAFile { .. }), "{path:?}: {error}");
            let line = error.to_string();
            assert!(line.starts_with("the result can't be") && line.contains("--result another"), "{line}");
            assert!(!line.contains('\n'));
        }
        let statistics =
            DocumentFile::prepare(DocumentKind::Statistics, Path::new("/"), &FilesInUse::default())
                .unwrap_err()
                .to_string();
        assert!(statistics.starts_with("the statistics document can't be written"), "{statistics}");
        assert!(statistics.contains("--stats another"), "{statistics}");
        for path in [directory.path("missing/file"), "/proc/file".into(), "/etc/passwd/file".into()] {
            let error = prepare(&path).unwrap_err();
            assert_eq!(error.status(), VmmStatus::Refused, "{path:?}");
            assert!(matches!(error, Error::Unwritable { .. }), "{path:?}: {error}");
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
        assert!(matches!(prepare(&path), Err(Error::Unwritable { .. })));
        fs::set_permissions(&directory.0, PermissionsExt::from_mode(0o555)).unwrap();
        assert!(matches!(prepare(&directory.path("new")), Err(Error::Unwritable { .. })));
        fs::set_permissions(&directory.0, PermissionsExt::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_document_that_can_not_be_written_is_an_error_of_the_vmm() {
        let directory = Directory::new("lost");
        let inside = directory.path("inside");
        fs::create_dir(&inside).unwrap();
        let file = prepare(&inside.join("result.json")).unwrap();
        fs::remove_dir(&inside).unwrap();
        let error = file.write(b"{}").unwrap_err();
        assert!(matches!(error, Error::DocumentLost { .. }));
        assert_eq!(error.status(), VmmStatus::VmmError);

        fs::create_dir(&inside).unwrap();
        fs::create_dir(inside.join("result.json")).unwrap();
        assert!(file.write(b"{}").is_err(), "a directory has taken the name");
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 1, "nothing else is left there");
    }
}
