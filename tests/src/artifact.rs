//! The binaries under test. They are built by `just build`, not by the tests, which judge what ships.

use std::env;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Names the folder of the binaries, if it is not `target` in the workspace or what `CARGO_TARGET_DIR` says.
pub const TARGET_DIR_VARIABLE: &str = "FREEHOLD_TARGET_DIR";

/// A binary that is not there.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("'{}' is missing: run `just build` first, or `just test` to have it done", path.display())]
pub struct MissingArtifact {
    /// Where it should be.
    pub path: PathBuf,
}

/// The binaries that every test run needs, all of which exist.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// The VMM.
    pub vmm_stub: PathBuf,
    /// The appliance that greets.
    pub hello: PathBuf,
    /// The appliance that verifies memory.
    pub memory_stress: PathBuf,
    /// The guest that misbehaves on request.
    pub misbehave: PathBuf,
    /// The guest that tests its kernel.
    pub kernel_tests: PathBuf,
    folder: PathBuf,
}

impl Artifacts {
    /// Finds the binaries.
    ///
    /// # Errors
    /// [`MissingArtifact`] for the first that is not there.
    pub fn find() -> Result<Self, MissingArtifact> {
        Self::find_in(&target_dir())
    }

    fn find_in(folder: &Path) -> Result<Self, MissingArtifact> {
        let existing = |name| existing(folder, name);
        Ok(Self {
            vmm_stub: existing("release/vmm-stub")?,
            hello: existing("appliances/hello")?,
            memory_stress: existing("appliances/memory-stress")?,
            misbehave: existing("guests/misbehave")?,
            kernel_tests: existing("guests/kernel-tests")?,
            folder: folder.to_owned(),
        })
    }

    /// The tool that makes disk images, which a machine that only runs guests does without.
    ///
    /// # Errors
    /// [`MissingArtifact`].
    pub fn disk_image(&self) -> Result<PathBuf, MissingArtifact> {
        existing(&self.folder, "release/disk-image")
    }

    /// The UEFI loader that goes onto disk images.
    ///
    /// # Errors
    /// [`MissingArtifact`].
    pub fn uefi_loader(&self) -> Result<PathBuf, MissingArtifact> {
        existing(&self.folder, "x86_64-unknown-uefi/uefi/uefi-loader.efi")
    }

    /// The ROM, which only QEMU starts.
    ///
    /// # Errors
    /// [`MissingArtifact`].
    pub fn rom(&self) -> Result<PathBuf, MissingArtifact> {
        existing(&self.folder, "firmware/freehold.rom")
    }
}

fn existing(folder: &Path, name: &str) -> Result<PathBuf, MissingArtifact> {
    let path = folder.join(name);
    if path.is_file() { Ok(path) } else { Err(MissingArtifact { path }) }
}

/// The folder that everything is built into.
#[must_use]
pub fn target_dir() -> PathBuf {
    let named = [TARGET_DIR_VARIABLE, "CARGO_TARGET_DIR"].iter().find_map(env::var_os);
    // Tests run in the folder of their package, cargo's variable is relative to the workspace.
    workspace().join(named.map_or(PathBuf::from("target"), PathBuf::from))
}

/// The folder of the workspace that this crate was built in.
#[must_use]
pub fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let missing = Artifacts::find_in(Path::new("/nowhere")).unwrap_err();
        let line = missing.to_string();
        assert!(
            line.contains("/nowhere/release/vmm-stub") && line.contains("run `just build` first"),
            "{line}"
        );
    }
}
