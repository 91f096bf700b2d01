//! How the machine's KVM translates the addresses of a guest, as `vmm-stub doctor` names it.

use crate::artifact::Artifacts;
use std::process::{Command, Stdio};
use thiserror::Error;

/// Who translates guest-physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// The processor, an Intel one.
    Ept,
    /// The processor, an AMD one.
    Npt,
    /// KVM, on an Intel processor.
    VmxShadow,
    /// KVM, on an AMD processor.
    SvmShadow,
    /// KVM_PVM.
    Pvm,
    /// Nobody says it.
    Unknown,
}

/// A doctor that does not say it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`vmm-stub doctor` names no paging that is known here; it says: {said}")]
pub struct NoPaging {
    said: String,
}

impl Paging {
    const ALL: [Self; 6] = [Self::Ept, Self::Npt, Self::VmxShadow, Self::SvmShadow, Self::Pvm, Self::Unknown];

    /// Asks the doctor.
    ///
    /// # Errors
    /// [`NoPaging`] if it can't be run, too.
    pub fn of(artifacts: &Artifacts) -> Result<Self, NoPaging> {
        let output = Command::new(&artifacts.vmm_stub).arg("doctor").stdin(Stdio::null()).output();
        Self::read(&output.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        ))
    }

    /// Reads what the doctor says.
    fn read(said: &str) -> Result<Self, NoPaging> {
        let name = said.lines().find_map(|line| line.trim().strip_prefix("paging: "));
        let paging = Self::ALL.into_iter().find(|paging| Some(paging.name()) == name);
        paging.ok_or_else(|| NoPaging { said: said.to_owned() })
    }

    /// Its name with the doctor, and in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ept => "VMX+EPT",
            Self::Npt => "SVM+NPT",
            Self::VmxShadow => "VMX without EPT (shadow paging)",
            Self::SvmShadow => "SVM without NPT (shadow paging)",
            Self::Pvm => "PVM (shadow paging)",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the processor walks a second set of tables, which KVM keeps by guest-physical address.
    #[must_use]
    pub const fn is_nested(self) -> bool {
        matches!(self, Self::Ept | Self::Npt)
    }

    /// Whether the processor is one of AMD's, used as such.
    #[must_use]
    pub const fn is_svm(self) -> bool {
        matches!(self, Self::Npt | Self::SvmShadow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doctors_names_are_known() {
        for paging in Paging::ALL {
            let said = format!("KVM:  there\n      paging: {}\n      can be used\n", paging.name());
            assert_eq!(Paging::read(&said), Ok(paging));
        }
    }

    #[test]
    fn a_doctor_that_names_none_is_quoted() {
        for said in ["KVM:  can't be used", "      paging: EPT on top\n", ""] {
            let error = Paging::read(said).unwrap_err();
            assert!(error.to_string().ends_with(said), "{error}");
        }
    }
}
