//! Debian packages: fetched with the machine's own package sources, which checks their signatures, unpacked into a cache,
//! and never installed.

use crate::command;
use crate::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Depends on the package with the kernel itself, whose name changes with every version.
const KERNEL_METAPACKAGE: &str = "linux-image-cloud-amd64";
const ADVICE: &str = "run it on Debian, or in a container of it";

/// The cache.
pub(crate) struct Packages {
    folder: PathBuf,
}

impl Packages {
    /// A cache in this folder, which is made when something is fetched.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder with a package's files, fetched unless it is there.
    ///
    /// # Errors
    /// [`Error::Fetch`], and [`Error::MissingProgram`] where there is no apt.
    pub(crate) fn unpacked(&self, package: &'static str) -> Result<PathBuf, Error> {
        self.cached(package, || Ok(package.to_owned()))
    }

    /// The folder with the files of the kernel's package.
    ///
    /// # Errors
    /// As [`Packages::unpacked`].
    pub(crate) fn kernel(&self) -> Result<PathBuf, Error> {
        self.cached("linux-image", kernel_package)
    }

    fn cached(&self, entry: &str, package: impl FnOnce() -> Result<String, Error>) -> Result<PathBuf, Error> {
        let complete = self.folder.join(entry);
        if complete.is_dir() {
            return Ok(complete);
        }
        let partial = self.folder.join(format!("{entry}.partial"));
        remove_folder(&partial)?;
        let files = partial.join("files");
        fs::create_dir_all(&files).map_err(Error::file(&files, "made"))?;
        let package = package()?;
        eprintln!("fetching the Debian package {package}");
        let archive = download(&package, &partial)?;
        command::run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&files), ADVICE)?;
        // Only what is whole gets its name.
        fs::rename(&files, &complete).map_err(Error::file(&complete, "made"))?;
        remove_folder(&partial)?;
        Ok(complete)
    }
}

fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file(folder, "removed")(error))
        }
        _ => Ok(()),
    }
}

/// Downloads the archive of a package into a folder.
fn download(package: &str, folder: &Path) -> Result<PathBuf, Error> {
    let attempt =
        || command::run(Command::new("apt-get").args(["download", package]).current_dir(folder), ADVICE);
    let failed = |said: String| Error::Fetch { package: package.to_owned(), said };
    if let Err(error) = attempt() {
        let Error::Command { said, .. } = error else { return Err(error) };
        update_lists().map_err(|_| failed(said))?;
        attempt().map_err(|error| failed(error.to_string()))?;
    }
    let entries = fs::read_dir(folder).map_err(Error::file(folder, "read"))?;
    let archive = entries.filter_map(Result::ok).map(|entry| entry.path());
    let archive =
        archive.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    archive.ok_or_else(|| failed("apt-get left no archive".to_owned()))
}

/// The lists of a fresh machine are empty. Only root may fetch them.
fn update_lists() -> Result<(), Error> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::Command {
            command: "apt-get update".to_owned(),
            said: "only root may".to_owned(),
        });
    }
    command::run(Command::new("apt-get").args(["update", "-qq"]), ADVICE).map(drop)
}

/// The name of the package that the metapackage stands for.
fn kernel_package() -> Result<String, Error> {
    let ask = || command::run(Command::new("apt-cache").args(["depends", KERNEL_METAPACKAGE]), ADVICE);
    let mut said = ask()?;
    if dependency(&said).is_none() {
        update_lists()?;
        said = ask()?;
    }
    let failed = || Error::Fetch { package: KERNEL_METAPACKAGE.to_owned(), said: said.trim().to_owned() };
    dependency(&said).map(str::to_owned).ok_or_else(failed)
}

/// What `apt-cache depends` says the package depends on.
fn dependency(said: &str) -> Option<&str> {
    said.lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .filter(|name| name.starts_with("linux-image-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_package_is_what_the_metapackage_depends_on() {
        let said = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(dependency(said), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(dependency("linux-image-cloud-amd64\n"), None);
        assert_eq!(dependency(""), None);
    }

    #[test]
    fn what_is_cached_is_not_fetched() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("busybox-static")).unwrap();
        let packages = Packages::new(folder.path().to_owned());
        let found = packages.cached("busybox-static", || panic!("it was to be fetched")).unwrap();
        assert_eq!(found, folder.path().join("busybox-static"));
    }

    #[test]
    fn what_was_left_half_done_is_fetched_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("busybox-static.partial/files")).unwrap();
        let packages = Packages::new(folder.path().to_owned());
        let none = || Err(Error::Fetch { package: "none".to_owned(), said: String::new() });
        assert!(matches!(packages.cached("busybox-static", none), Err(Error::Fetch { .. })));
        assert!(!folder.path().join("busybox-static").exists());
    }
}
