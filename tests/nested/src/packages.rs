//! Debian packages: fetched with the machine's own package sources, which checks their signatures, unpacked into a cache,
//! and never installed.

use crate::command;
use crate::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Depends on the package with the kernel itself, whose name changes with every version.
const KERNEL_METAPACKAGE: &str = "linux-image-cloud-amd64";

/// Programs for the lane on Bochs: the emulator with a display that needs no window, and what makes an image of a CD.
const BOCHS_PROGRAMS: [&str; 3] = ["bochs", "bochs-term", "xorriso"];
/// What they work with: two BIOSes and a boot loader.
const BOCHS_DATA: [&str; 4] = ["bochsbios", "vgabios", "isolinux", "syslinux-common"];

const ADVICE: &str = "run it on Debian 12, or in a container of it";

/// Where the programs of an unpacked folder find the libraries in it, as the loader wants to be told.
pub(crate) fn libraries(folder: &Path) -> OsString {
    let folders = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|name| folder.join(name));
    std::env::join_paths(folders).unwrap_or_default()
}

/// The cache.
pub(crate) struct Packages {
    folder: PathBuf,
}

impl Packages {
    /// A cache in this folder, which is made when something is fetched.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder with the files of busybox, linked statically.
    ///
    /// # Errors
    /// [`Error::Fetch`], and [`Error::MissingProgram`] where there is no apt.
    pub(crate) fn busybox(&self) -> Result<PathBuf, Error> {
        self.cached("busybox", || Ok(vec!["busybox-static".to_owned()]))
    }

    /// The folder with the files of the kernel's package.
    ///
    /// # Errors
    /// As [`Packages::busybox`].
    pub(crate) fn kernel(&self) -> Result<PathBuf, Error> {
        self.cached("linux-image", || Ok(vec![kernel_package()?]))
    }

    /// The folder with Bochs, all it needs to boot a kernel, and the libraries that this machine has not installed.
    ///
    /// # Errors
    /// As [`Packages::busybox`].
    pub(crate) fn bochs(&self) -> Result<PathBuf, Error> {
        self.cached("bochs", || {
            let mut packages = missing_dependencies(&BOCHS_PROGRAMS)?;
            packages.extend(BOCHS_PROGRAMS.iter().chain(&BOCHS_DATA).map(|&package| package.to_owned()));
            packages.sort_unstable();
            packages.dedup();
            Ok(packages)
        })
    }

    /// The folder of an entry. If it is not there, packages are unpacked into it, one over the other.
    fn cached(
        &self,
        entry: &str,
        packages: impl FnOnce() -> Result<Vec<String>, Error>,
    ) -> Result<PathBuf, Error> {
        let complete = self.folder.join(entry);
        if complete.is_dir() {
            return Ok(complete);
        }
        let partial = self.folder.join(format!("{entry}.partial"));
        remove_folder(&partial)?;
        let files = partial.join("files");
        fs::create_dir_all(&files).map_err(Error::file(&files, "made"))?;
        for package in packages()? {
            eprintln!("fetching the Debian package {package}");
            let archives = partial.join(&package);
            fs::create_dir(&archives).map_err(Error::file(&archives, "made"))?;
            let archive = download(&package, &archives)?;
            command::run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&files), ADVICE)?;
        }
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
    let mut command = Command::new("apt-get");
    command.args(["download", package]).current_dir(folder);
    apt(package, command, Some)?;
    let entries = fs::read_dir(folder).map_err(Error::file(folder, "read"))?;
    let mut archives = entries.filter_map(Result::ok).map(|entry| entry.path());
    let archive = archives.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let said = "apt-get left no archive".to_owned();
    archive.ok_or_else(|| Error::Fetch { package: package.to_owned(), said })
}

/// Runs a command of apt's for a package, a second time with new package lists if it fails or says nothing that `read` makes
/// sense of: the lists of a fresh machine are empty. Only root may renew them.
fn apt<T>(package: &str, mut command: Command, read: impl Fn(String) -> Option<T>) -> Result<T, Error> {
    let mut attempt = || match command::run(&mut command, ADVICE) {
        Ok(said) => Ok(read(said.clone()).ok_or(said)),
        Err(Error::Command { said, .. }) => Ok(Err(said)),
        Err(error) => Err(error),
    };
    let failed = |said: String| Error::Fetch { package: package.to_owned(), said: said.trim().to_owned() };
    let said = match attempt()? {
        Ok(read) => return Ok(read),
        Err(said) => said,
    };
    if !nix::unistd::geteuid().is_root() {
        return Err(failed(said));
    }
    command::run(Command::new("apt-get").args(["update", "-qq"]), ADVICE).map_err(|_| failed(said))?;
    attempt()?.map_err(failed)
}

/// The name of the package that the metapackage stands for.
fn kernel_package() -> Result<String, Error> {
    let mut command = Command::new("apt-cache");
    command.args(["depends", KERNEL_METAPACKAGE]);
    apt(KERNEL_METAPACKAGE, command, |said| dependency(&said).map(str::to_owned))
}

/// What `apt-cache depends` says the package depends on.
fn dependency(said: &str) -> Option<&str> {
    said.lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .filter(|name| name.starts_with("linux-image-"))
}

/// The packages that these need and that are not installed, themselves among them.
fn missing_dependencies(packages: &[&str]) -> Result<Vec<String>, Error> {
    // Only prints what would be fetched, and so needs neither rights nor a lock.
    let options =
        ["install", "--print-uris", "-qq", "--no-install-recommends", "-o", "Debug::NoLocking=true"];
    let mut command = Command::new("apt-get");
    command.args(options).args(packages);
    apt(&packages.join(" "), command, |said| Some(fetched(&said)))
}

/// The packages in lines such as `'http://…' libltdl7_2.4.7-7_amd64.deb 393084 MD5Sum:…`.
fn fetched(said: &str) -> Vec<String> {
    let archives = said.lines().filter_map(|line| line.split_whitespace().nth(1));
    archives.filter_map(|archive| archive.split_once('_')).map(|(name, _)| name.to_owned()).collect()
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
    fn missing_packages_are_named_without_their_versions() {
        let said = "'http://a/b/libltdl7_2.4.7-7%7edeb12u1_amd64.deb' libltdl7_2.4.7-7~deb12u1_amd64.deb 393084 MD5Sum:0\n\
                    'http://a/b/bochs_2.7.deb' bochs_2.7+dfsg-4_amd64.deb 1661184 SHA256:0\n";
        assert_eq!(fetched(said), ["libltdl7", "bochs"]);
        assert_eq!(fetched(""), [""; 0], "all are installed");
    }

    #[test]
    fn what_is_cached_is_not_fetched() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("busybox")).unwrap();
        let packages = Packages::new(folder.path().to_owned());
        let found = packages.cached("busybox", || panic!("it was to be fetched")).unwrap();
        assert_eq!(found, folder.path().join("busybox"));
    }

    #[test]
    fn what_was_left_half_done_is_fetched_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("busybox.partial/files")).unwrap();
        let packages = Packages::new(folder.path().to_owned());
        let none = || Err(Error::Fetch { package: "none".to_owned(), said: String::new() });
        assert!(matches!(packages.cached("busybox", none), Err(Error::Fetch { .. })));
        assert!(!folder.path().join("busybox").exists());
    }
}
