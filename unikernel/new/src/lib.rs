//! Writes the crate of a new appliance, outside the workspace of the kernel that it is built on.
//!
//! The crate has a manifest, a source, and cargo's settings. Where the kernel lies is said in two places: the dependency
//! of the manifest, and the settings' runner, which `cargo run` boots the appliance with.

mod error;
mod name;
mod place;
mod template;

pub use error::Error;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::Builder;

/// Writes the crate of an appliance into the folder `path`, which is made, or there and empty. Its last component is the
/// name. `freehold` is the checkout whose kernel it is built on.
///
/// # Errors
/// [`Error`]. All but [`Error::Write`] are found before anything is written.
pub fn write(freehold: &Path, path: &Path) -> Result<(), Error> {
    let name = name::of_folder(path)?;
    let freehold =
        freehold.canonicalize().map_err(|source| Error::Read { path: freehold.to_owned(), source })?;
    place::check(path, &freehold)?;
    let files = template::files(name, &freehold)?;
    write_whole(path, &files).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Writes files into a folder that gets its name once all are in it.
fn write_whole(path: &Path, files: &[(&str, String)]) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let any_user = Permissions::from_mode(0o777);
    let folder = Builder::new().prefix(".new-").permissions(any_user).tempdir_in(parent)?;
    for (file, content) in files {
        let file = folder.path().join(file);
        fs::create_dir_all(file.parent().unwrap_or(folder.path()))?;
        fs::write(&file, content)?;
    }
    fs::rename(folder.path(), path)?;
    // It is not where it was made.
    let _ = folder.keep();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_crate_is_three_files() {
        let folder = tempfile::tempdir().unwrap();
        let (freehold, path) = (folder.path().join("freehold"), folder.path().join("on/the way/greeter"));
        fs::create_dir(&freehold).unwrap();
        write(&freehold, &path).unwrap();
        assert_eq!(names_in(&path), [".cargo", "Cargo.toml", "src"]);
        assert_eq!(names_in(&path.join(".cargo")), ["config.toml"]);
        assert_eq!(names_in(&path.join("src")), ["main.rs"]);
        assert_eq!(names_in(&folder.path().join("on/the way")), ["greeter"]);
        fs::create_dir(folder.path().join("empty")).unwrap();
        write(&freehold, &folder.path().join("empty")).unwrap();
        assert!(folder.path().join("empty/Cargo.toml").is_file());
    }

    #[test]
    fn what_is_refused_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let freehold = folder.path().join("freehold");
        fs::create_dir(&freehold).unwrap();
        for path in ["freehold/inside", "2nd", "no/such name"] {
            let error = write(&freehold, &folder.path().join(path)).unwrap_err().to_string();
            assert!(!error.contains('\n') && error.contains("give"), "{error}");
        }
        assert!(write(&folder.path().join("nowhere"), &folder.path().join("fine")).is_err());
        // A file system that takes no folders.
        assert!(matches!(write(&freehold, Path::new("/proc/fine")), Err(Error::Write { .. })));
        assert_eq!(names_in(folder.path()), ["freehold"]);
        assert!(names_in(&freehold).is_empty());
    }
}
