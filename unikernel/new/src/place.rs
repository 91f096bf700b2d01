//! Where a crate may lie.

use crate::error::Error;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Sees to it that `path` is free, and outside of the workspace `freehold`, whose path is canonical.
///
/// # Errors
/// [`Error::Occupied`], [`Error::InsideWorkspace`], [`Error::UpFromNowhere`], [`Error::Read`].
pub(crate) fn check(path: &Path, freehold: &Path) -> Result<(), Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let (there, rest) = real_path(path).map_err(unreadable)?;
    if rest.components().any(|component| component == Component::ParentDir) {
        return Err(Error::UpFromNowhere { path: path.to_owned() });
    }
    if there.join(rest).starts_with(freehold) {
        return Err(Error::InsideWorkspace { path: path.to_owned(), freehold: freehold.to_owned() });
    }
    match fs::read_dir(path).map(Iterator::count) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Error::Occupied { path: path.to_owned() }),
        // A symbolic link to nowhere can't be read, and is something nevertheless.
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(Error::Occupied { path: path.to_owned() })
        }
        Err(error) => Err(unreadable(error)),
    }
}

/// As much of the path as is there, without symbolic links, and the rest.
fn real_path(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let absolute = std::path::absolute(path)?;
    let found = absolute.ancestors().find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)));
    Ok(match found {
        Some((ancestor, real)) => {
            (real, absolute.strip_prefix(ancestor).map(Path::to_owned).unwrap_or_default())
        }
        None => (absolute, PathBuf::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_nothing_and_an_empty_folder_are_free() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (freehold, empty, full, file, lost) =
            (at("freehold"), at("empty"), at("full"), at("file"), at("lost"));
        for folder in [&freehold, &empty, &full] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(full.join("a"), "").unwrap();
        fs::write(&file, "").unwrap();
        symlink("nowhere", &lost).unwrap();
        for free in [&empty, &at("new"), &at("on/the/way")] {
            check(free, &freehold).unwrap();
        }
        for occupied in [&full, &file, &lost] {
            assert!(matches!(check(occupied, &freehold), Err(Error::Occupied { .. })), "{occupied:?}");
        }
    }

    #[test]
    fn the_workspace_is_found_behind_links_and_dots() {
        let folder = tempfile::tempdir().unwrap();
        let freehold = folder.path().canonicalize().unwrap().join("freehold");
        fs::create_dir_all(freehold.join("tests")).unwrap();
        symlink(freehold.join("tests"), folder.path().join("link")).unwrap();
        for inside in ["freehold/new", "freehold/tests/a/b", "link/new", "freehold/tests/../new"] {
            let outcome = check(&folder.path().join(inside), &freehold);
            assert!(matches!(outcome, Err(Error::InsideWorkspace { .. })), "{inside}");
        }
        check(&folder.path().join("freehold-2"), &freehold).unwrap();
        let outcome = check(&folder.path().join("nowhere/../freehold/new"), &freehold);
        assert!(matches!(outcome, Err(Error::UpFromNowhere { .. })));
    }
}
