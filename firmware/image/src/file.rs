//! Reads a file of reasonable length, and writes an image as a whole, or not at all.

use crate::error::Error;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use tempfile::{Builder, NamedTempFile};

/// The longest file that is read, in bytes: a kernel ends below 1 GiB in memory.
const LEN_MAX: u64 = 2 << 30;

/// Reads a file.
///
/// # Errors
/// [`Error::Read`]; [`Error::FileTooLong`] if it is longer than 2 GiB, as a disk can be that an image was copied to.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_at_most(path, LEN_MAX)
}

fn read_at_most(path: &Path, len_max: u64) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.into(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(len_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > len_max {
        return Err(Error::FileTooLong { path: path.into() });
    }
    Ok(bytes)
}

/// Sees to it that an image can be at `path` that is made of the file `appliance`.
///
/// # Errors
/// [`Error::NoFile`], [`Error::OverTheAppliance`]; [`Error::Exists`] if there is a file that is not to be replaced.
pub fn check_place(path: &Path, appliance: &Path, replace: bool) -> Result<(), Error> {
    let Ok(there) = path.symlink_metadata() else { return Ok(()) };
    if !there.is_file() {
        return Err(Error::NoFile { path: path.into() });
    }
    if !replace {
        return Err(Error::Exists { path: path.into() });
    }
    let same = |appliance: Metadata| (there.dev(), there.ino()) == (appliance.dev(), appliance.ino());
    if appliance.metadata().is_ok_and(same) {
        return Err(Error::OverTheAppliance { path: path.into() });
    }
    Ok(())
}

/// Writes a file beside `path`, then gives it that name. Makes its folder if there is none. What exists stays, unless
/// `replace` says otherwise. Who ends this process amid that finds nothing at `path`, or what was there; a file whose name begins
/// with `.image-` can be left beside it.
///
/// # Errors
/// [`Error::Exists`], [`Error::Write`]; what was written is removed again.
pub fn write(path: &Path, bytes: &[u8], replace: bool) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.into(), source };
    let file = write_beside(path, bytes).map_err(failed)?;
    if replace {
        return file.persist(path).map(drop).map_err(|error| failed(error.error));
    }
    file.persist_noclobber(path).map(drop).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.into() },
        _ => failed(error.error),
    })
}

fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    // A bare file name has the empty path as its parent.
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let permissions = Permissions::from_mode(0o644);
    let mut file = Builder::new().prefix(".image-").permissions(permissions).tempfile_in(folder)?;
    file.write_all(bytes)?;
    // The name must not outlive the content, if the power fails.
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_files_are_refused() {
        let error = read_at_most(Path::new("/dev/zero"), 4096).unwrap_err();
        assert!(matches!(error, Error::FileTooLong { .. }), "{error}");
        assert_eq!(read_at_most(Path::new("/dev/null"), 0).unwrap(), b"");
    }

    #[test]
    fn what_exists_is_replaced_on_demand_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/on/the/way/image");
        write(&path, b"old", false).unwrap();
        assert!(matches!(write(&path, b"new", false), Err(Error::Exists { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write(&path, b"new", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no other file is left");
    }

    #[test]
    fn only_another_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (appliance, other) = (at("appliance"), at("other"));
        fs::write(&appliance, "").unwrap();
        fs::write(&other, "").unwrap();
        fs::hard_link(&appliance, at("same")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
        for path in [folder.path(), &at("link"), Path::new("/dev/null")] {
            for replace in [false, true] {
                let error = check_place(path, &appliance, replace).unwrap_err();
                assert!(matches!(error, Error::NoFile { .. }), "{error}");
            }
        }
        for same in [&appliance, &at("same")] {
            let error = check_place(same, &appliance, true).unwrap_err();
            assert!(matches!(error, Error::OverTheAppliance { .. }), "{error}");
        }
        assert!(matches!(check_place(&other, &appliance, false), Err(Error::Exists { .. })));
        check_place(&other, &appliance, true).unwrap();
        check_place(&at("new"), &appliance, false).unwrap();
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let occupied = folder.path().join("folder");
        fs::create_dir(&occupied).unwrap();
        let error = write(&occupied, b"new", true).unwrap_err();
        assert!(matches!(error, Error::Write { .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
