//! `vmm-stub doctor`: which hosts there are, whether they can be used, and what to do if not.

use crate::host::kvm::{API_VERSION, Flavour, KvmHost, KvmUnusable, REQUIRED};
use crate::host::paging::Paging;
use crate::host::qemu;
use guest_interface::status::{ApplicationStatus, ExitStatus, VmmStatus};
use std::fmt;
use std::path::PathBuf;

/// What was found on this host.
pub(crate) struct Findings {
    kvm: Result<UsableKvm, KvmUnusable>,
    qemu: Option<Qemu>,
}

struct UsableKvm {
    flavour: Flavour,
    paging: Paging,
}

struct Qemu {
    path: PathBuf,
    version: Option<String>,
}

/// Looks at this host, by the same steps as a run.
pub(crate) fn examine() -> Findings {
    let kvm =
        KvmHost::open().map(|KvmHost { flavour, .. }| UsableKvm { flavour, paging: Paging::detect(flavour) });
    let qemu = qemu::find().map(|path| Qemu { version: qemu::version(&path), path });
    Findings { kvm, qemu }
}

impl Findings {
    /// Success if KVM can be used, whatever there is of QEMU.
    pub(crate) const fn status(&self) -> ExitStatus {
        match self.kvm {
            Ok(_) => ExitStatus::Application(ApplicationStatus::SUCCESS),
            Err(_) => ExitStatus::Vmm(VmmStatus::HostUnable),
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kvm {
            Ok(UsableKvm { flavour, paging }) => {
                let [first, second] = REQUIRED.map(|(_, name)| name);
                writeln!(formatter, "KVM:  {} (API version {API_VERSION})", flavour.describe())?;
                writeln!(formatter, "      paging: {paging}")?;
                writeln!(
                    formatter,
                    "      has {first} and {second}; a machine with a vCPU could be created"
                )?;
                writeln!(formatter, "      can be used: `vmm-stub run ELF`")?;
            }
            Err(reason) => {
                writeln!(formatter, "KVM:  can't be used: {reason}")?;
                writeln!(formatter, "      to do: {}", reason.advice())?;
            }
        }
        match &self.qemu {
            Some(Qemu { path, version: Some(version) }) => {
                writeln!(formatter, "QEMU: version {version}, {}", path.display())?;
                writeln!(formatter, "      can be used: `vmm-stub run --host qemu ELF`")
            }
            Some(Qemu { path, version: None }) => {
                writeln!(formatter, "QEMU: {} does not run", path.display())?;
                writeln!(
                    formatter,
                    "      to do: install it anew with `apt-get install --reinstall qemu-system-x86`"
                )
            }
            None => {
                writeln!(formatter, "QEMU: {} was not found", qemu::PROGRAM)?;
                writeln!(formatter, "      to do, if it is needed: `apt-get install qemu-system-x86`")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn text(kvm: Result<UsableKvm, KvmUnusable>, qemu: Option<Qemu>) -> (String, u8) {
        let findings = Findings { kvm, qemu };
        (findings.to_string(), findings.status().code())
    }

    const fn usable(flavour: Flavour, paging: Paging) -> Result<UsableKvm, KvmUnusable> {
        Ok(UsableKvm { flavour, paging })
    }

    #[test]
    fn a_usable_kvm_is_named_and_is_success() {
        let (ordinary, status) = text(usable(Flavour::Ordinary, Paging::Ept), None);
        let expected = "KVM:  ordinary KVM, guests at ring 0 (API version 12)\n      paging: VMX+EPT\n";
        assert!(ordinary.starts_with(expected), "{ordinary}");
        assert_eq!(status, 0);
        let (pvm, status) = text(usable(Flavour::Pvm, Paging::Pvm), None);
        assert!(pvm.contains("KVM_PVM, guests native at privilege level 3"), "{pvm}");
        assert_eq!(status, 0);
    }

    #[test]
    fn an_unusable_kvm_says_what_to_do_and_is_no_success() {
        let qemu = || Some(Qemu { path: "/usr/bin/qemu".into(), version: Some("7.2.0".to_owned()) });
        let missing = KvmUnusable::Missing(io::ErrorKind::NotFound.into());
        let (line, status) = text(Err(missing), qemu());
        assert!(line.contains("there is no KVM") && line.contains("to do: load its module"), "{line}");
        assert!(line.contains("7.2.0") && line.contains("--host qemu ELF"), "{line}");
        assert_eq!(status, VmmStatus::HostUnable.code());
        let forbidden = KvmUnusable::NoPermission(io::ErrorKind::PermissionDenied.into());
        assert!(text(Err(forbidden), None).0.contains("usermod -aG kvm"));
    }

    #[test]
    fn a_missing_or_broken_qemu_says_how_to_get_it() {
        assert!(
            text(usable(Flavour::Pvm, Paging::Pvm), None).0.contains("`apt-get install qemu-system-x86`")
        );
        let broken = Qemu { path: "/usr/bin/qemu".into(), version: None };
        assert!(text(usable(Flavour::Pvm, Paging::Pvm), Some(broken)).0.contains("does not run"));
    }
}
