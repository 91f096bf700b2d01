//! How KVM translates the addresses of a guest: by a second set of page tables that the processor walks, or by shadows of
//! the guest's own that KVM keeps. What the processor could do does not tell: either can be turned off when KVM's module
//! is loaded.

use crate::host::kvm::Flavour;
use std::fmt;
use std::fs;
use std::path::Path;

/// Where Linux shows its modules, and those that are built into it (Documentation/ABI/stable/sysfs-module).
const MODULES: &str = "/sys/module";

/// The parameters that say it, relative to the modules, with what it is with and without.
const PARAMETERS: [(&str, Paging, Paging); 2] = [
    ("kvm_intel/parameters/ept", Paging::Ept, Paging::VmxShadow),
    ("kvm_amd/parameters/npt", Paging::Npt, Paging::SvmShadow),
];

/// Who translates guest-physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paging {
    /// The processor, by extended page tables of Intel's (SDM volume 3, "VMX Support for Address Translation").
    Ept,
    /// The processor, by nested page tables of AMD's (APM volume 2, 15.25).
    Npt,
    /// KVM on an Intel processor.
    VmxShadow,
    /// KVM on an AMD processor.
    SvmShadow,
    /// KVM_PVM, which has no hardware to do it.
    Pvm,
    /// No module says it.
    Unknown,
}

impl Paging {
    /// Asks the host, on which a KVM of this flavour was opened.
    pub(crate) fn detect(flavour: Flavour) -> Self {
        Self::detect_in(flavour, Path::new(MODULES))
    }

    fn detect_in(flavour: Flavour, modules: &Path) -> Self {
        if flavour == Flavour::Pvm {
            return Self::Pvm;
        }
        let said = PARAMETERS.into_iter().find_map(|(path, with, without)| {
            let value = fs::read_to_string(modules.join(path)).ok()?;
            Some(if is_set(&value)? { with } else { without })
        });
        said.unwrap_or(Self::Unknown)
    }

    /// The name, in messages and in machine-readable output.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ept => "VMX+EPT",
            Self::Npt => "SVM+NPT",
            Self::VmxShadow => "VMX without EPT (shadow paging)",
            Self::SvmShadow => "SVM without NPT (shadow paging)",
            Self::Pvm => "PVM (shadow paging)",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Paging {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The value of a module's parameter: a letter for a bool, a number for an int, which some were in older kernels.
fn is_set(value: &str) -> Option<bool> {
    match value.trim() {
        "Y" | "1" => Some(true),
        "N" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A folder of modules of one test, removed at its end.
    struct Modules(PathBuf);

    impl Modules {
        fn new(test: &str, parameters: &[(&str, &str)]) -> Self {
            let path = std::env::temp_dir().join(format!("vmm-stub-modules-{test}-{}", std::process::id()));
            for (parameter, value) in parameters {
                let file = path.join(parameter);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, value).unwrap();
            }
            Self(path)
        }

        fn detect(&self, flavour: Flavour) -> Paging {
            Paging::detect_in(flavour, &self.0)
        }
    }

    impl Drop for Modules {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const EPT: &str = PARAMETERS[0].0;
    const NPT: &str = PARAMETERS[1].0;

    #[test]
    fn the_module_says_who_translates() {
        for (parameter, value, expected) in [
            (EPT, "Y\n", "VMX+EPT"),
            (EPT, "1\n", "VMX+EPT"),
            (EPT, "N\n", "VMX without EPT (shadow paging)"),
            (NPT, "1", "SVM+NPT"),
            (NPT, "Y\n", "SVM+NPT"),
            (NPT, "0\n", "SVM without NPT (shadow paging)"),
        ] {
            let modules = Modules::new("says", &[(parameter, value)]);
            assert_eq!(modules.detect(Flavour::Ordinary).to_string(), expected, "{parameter} {value:?}");
        }
    }

    #[test]
    fn what_nobody_says_is_unknown() {
        let detect = |parameters: &[_]| Modules::new("unknown", parameters).detect(Flavour::Ordinary);
        assert_eq!(detect(&[]), Paging::Unknown);
        for value in ["", "\n", "yes", "2", "YY", "\0"] {
            assert_eq!(detect(&[(EPT, value)]), Paging::Unknown, "{value:?}");
        }
        assert_eq!(detect(&[("kvm/parameters/tdp_mmu", "Y")]), Paging::Unknown);
        assert_eq!(detect(&[(EPT, "?"), (NPT, "Y")]), Paging::Npt, "the other module may say it");
    }

    #[test]
    fn pvm_has_no_hardware_to_ask_about() {
        let modules = Modules::new("pvm", &[(EPT, "Y")]);
        assert_eq!(modules.detect(Flavour::Pvm), Paging::Pvm);
    }
}
