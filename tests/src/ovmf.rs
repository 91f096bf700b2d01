//! OVMF, the UEFI firmware for QEMU's machines.

use std::path::{Path, PathBuf};
use thiserror::Error;

/// Where Debian's and Ubuntu's package has it. Newer ones have only the second form.
const FOLDER: &str = "/usr/share/OVMF";
const FORMS: [(&str, &str); 2] = [("OVMF_CODE.fd", "OVMF_VARS.fd"), ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd")];

/// The firmware is not installed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("OVMF is not in {FOLDER}; install it with `apt-get install ovmf`")]
pub struct OvmfMissing;

/// The firmware's images, for flash devices.
#[derive(Clone, Debug)]
pub struct Ovmf {
    /// Its code.
    pub code: PathBuf,
    /// The variables of a machine that was never started.
    pub variables: PathBuf,
}

impl Ovmf {
    /// Looks for it.
    ///
    /// # Errors
    /// [`OvmfMissing`].
    pub fn find() -> Result<Self, OvmfMissing> {
        let in_folder = |name| Path::new(FOLDER).join(name);
        let mut forms = FORMS
            .iter()
            .map(|(code, variables)| Self { code: in_folder(code), variables: in_folder(variables) });
        forms.find(|ovmf| ovmf.code.is_file() && ovmf.variables.is_file()).ok_or(OvmfMissing)
    }
}
