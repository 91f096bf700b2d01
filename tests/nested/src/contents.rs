//! What the emulated machine boots: a kernel as Debian ships it, and an archive with all that runs on it.

use crate::error::Error;
use crate::initramfs::Initramfs;
use crate::lane::Lane;
use crate::packages::Packages;
use std::fs;
use std::path::{Path, PathBuf};

/// The first process; see there for what it expects in the archive.
const INIT: &[u8] = include_bytes!("init.sh");
const FOLDERS: [&str; 12] = [
    "bin",
    "dev",
    "lane",
    "modules",
    "proc",
    "sys",
    "tmp",
    "freehold",
    "freehold/release",
    "freehold/appliances",
    "freehold/firmware",
    "freehold/guests",
];

/// What was built to run inside.
pub(crate) struct Files<'a> {
    /// Folder with `appliances`, `guests` and `firmware`.
    pub(crate) target_dir: &'a Path,
    /// The VMM, linked statically.
    pub(crate) vmm_stub: &'a Path,
    /// The system tests, linked statically.
    pub(crate) system_tests: &'a Path,
}

/// The kernel.
///
/// # Errors
/// If its package can't be had, or has none.
pub(crate) fn kernel(packages: &Packages) -> Result<PathBuf, Error> {
    let folder = packages.kernel()?.join("boot");
    let entries = fs::read_dir(&folder).map_err(Error::file(&folder, "read"))?;
    let mut paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let is_kernel =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"));
    let missing = || Error::NotInPackage { package: "linux-image", file: "boot/vmlinuz".to_owned() };
    paths.find(is_kernel).ok_or_else(missing)
}

/// Everything that runs inside.
///
/// # Errors
/// For packages that can't be had, and files that can't be read.
pub(crate) fn archive(lane: Lane, files: &Files<'_>, packages: &Packages) -> Result<Initramfs, Error> {
    let mut archive = Initramfs::with_folders(&FOLDERS)?;
    archive.add("init", INIT)?;
    archive.add("lane/modules", lane.modules().join("\n").as_bytes())?;
    archive.add("lane/parameter", lane.parameter().as_bytes())?;
    archive.add("lane/arguments", lane.tests().join("\n").as_bytes())?;
    archive.add_copy("bin/busybox", &packages.busybox()?.join("bin/busybox"))?;
    let kernel = packages.kernel()?;
    for module in lane.modules() {
        let file = format!("{module}.ko");
        let path = find(&kernel.join("lib/modules"), &file)?;
        let path = path.ok_or(Error::NotInPackage { package: "linux-image", file: file.clone() })?;
        archive.add_copy(&format!("modules/{file}"), &path)?;
    }
    archive.add_copy("bin/system-tests", files.system_tests)?;
    archive.add_copy("freehold/release/vmm-stub", files.vmm_stub)?;
    for folder in ["appliances", "guests", "firmware"] {
        let from = files.target_dir.join(folder);
        for entry in fs::read_dir(&from).map_err(Error::file(&from, "read"))?.filter_map(Result::ok) {
            let name = entry.file_name();
            archive.add_copy(&format!("freehold/{folder}/{}", name.to_string_lossy()), &entry.path())?;
        }
    }
    Ok(archive)
}

/// Looks for a file in a folder and all below it.
fn find(folder: &Path, name: &str) -> Result<Option<PathBuf>, Error> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::file(&folder, "read"))?.filter_map(Result::ok) {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if entry.file_name() == name {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}
