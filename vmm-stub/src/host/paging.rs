//! How KVM translates the addresses of a guest: by a second set of page tables that the processor walks, or by shadows of
//! the guest's own that KVM keeps. What the processor could do does not tell: either can be turned off when KVM's module
//! is loaded. Nor does one module's parameter alone: where both vendors' are built into the kernel, both are there.

use crate::host::kvm::Flavour;
use std::arch::x86_64::__cpuid;
use std::fmt;
use std::fs;
use std::path::Path;

/// Where Linux shows its modules, and those that are built into it (Documentation/ABI/stable/sysfs-module).
const MODULES: &str = "/sys/module";

/// A module of KVM's, for one kind of processor.
#[derive(Clone, Copy)]
struct Module {
    /// The parameter that says who translates, relative to the modules.
    parameter: &'static str,
    /// Who does where it is set, and where not.
    with: Paging,
    without: Paging,
}

const INTEL: Module =
    Module { parameter: "kvm_intel/parameters/ept", with: Paging::Ept, without: Paging::VmxShadow };
const AMD: Module =
    Module { parameter: "kvm_amd/parameters/npt", with: Paging::Npt, without: Paging::SvmShadow };

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
    /// No module for this processor says it.
    Unknown,
}

impl Paging {
    /// Asks the host, on which a KVM of this flavour was opened.
    pub(crate) fn detect(flavour: Flavour) -> Self {
        Self::detect_in(flavour, Path::new(MODULES), Module::of(&Features::read()))
    }

    fn detect_in(flavour: Flavour, modules: &Path, module: Option<Module>) -> Self {
        if flavour == Flavour::Pvm {
            return Self::Pvm;
        }
        let said = module.and_then(|module| {
            let value = fs::read_to_string(modules.join(module.parameter)).ok()?;
            Some(if is_set(&value)? { module.with } else { module.without })
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

/// ECX of two leaves of CPUID, which have a bit for each vendor's virtualization.
#[derive(Clone, Copy, Debug, Default)]
struct Features {
    leaf_1: u32,
    leaf_8000_0001: u32,
}

impl Features {
    /// CPUID.1:ECX.VMX (Intel SDM volume 3, 25.6).
    const VMX: u32 = 1 << 5;
    /// CPUID Fn8000_0001_ECX.SVM (AMD64 APM volume 2, 15.4).
    const SVM: u32 = 1 << 2;

    /// Asks the processor, and not /proc/cpuinfo, which can take milliseconds to read where there are many.
    fn read() -> Self {
        const EXTENDED: u32 = 0x8000_0000;
        let has = |leaf| __cpuid(leaf & EXTENDED).eax >= leaf;
        let ecx = |leaf| if has(leaf) { __cpuid(leaf).ecx } else { 0 };
        Self { leaf_1: ecx(1), leaf_8000_0001: ecx(EXTENDED + 1) }
    }
}

impl Module {
    /// The one that takes this processor, if any does.
    const fn of(features: &Features) -> Option<Self> {
        if features.leaf_1 & Features::VMX != 0 {
            Some(INTEL)
        } else if features.leaf_8000_0001 & Features::SVM != 0 {
            Some(AMD)
        } else {
            None
        }
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

        fn detect(&self, flavour: Flavour, features: Features) -> Paging {
            Paging::detect_in(flavour, &self.0, Module::of(&features))
        }
    }

    impl Drop for Modules {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const EPT: &str = INTEL.parameter;
    const NPT: &str = AMD.parameter;
    /// With all that the other vendor has at the same places.
    const INTEL_PROCESSOR: Features = Features { leaf_1: !0, leaf_8000_0001: !Features::SVM };
    const AMD_PROCESSOR: Features = Features { leaf_1: !Features::VMX, leaf_8000_0001: !0 };

    #[test]
    fn the_module_says_who_translates() {
        for (processor, parameter, value, expected) in [
            (INTEL_PROCESSOR, EPT, "Y\n", "VMX+EPT"),
            (INTEL_PROCESSOR, EPT, "1\n", "VMX+EPT"),
            (INTEL_PROCESSOR, EPT, "N\n", "VMX without EPT (shadow paging)"),
            (AMD_PROCESSOR, NPT, "1", "SVM+NPT"),
            (AMD_PROCESSOR, NPT, "Y\n", "SVM+NPT"),
            (AMD_PROCESSOR, NPT, "0\n", "SVM without NPT (shadow paging)"),
        ] {
            let modules = Modules::new("says", &[(parameter, value)]);
            let paging = modules.detect(Flavour::Ordinary, processor);
            assert_eq!(paging.to_string(), expected, "{parameter} {value:?}");
        }
    }

    #[test]
    fn with_both_modules_built_in_the_processors_own_is_asked() {
        for (ept, npt, intel, amd) in [
            ("Y", "Y", Paging::Ept, Paging::Npt),
            ("Y", "0", Paging::Ept, Paging::SvmShadow),
            ("N", "1", Paging::VmxShadow, Paging::Npt),
            ("Y", "?", Paging::Ept, Paging::Unknown),
        ] {
            let modules = Modules::new("both", &[(EPT, ept), (NPT, npt)]);
            let detect = |processor| modules.detect(Flavour::Ordinary, processor);
            assert_eq!([detect(INTEL_PROCESSOR), detect(AMD_PROCESSOR)], [intel, amd], "{ept} {npt}");
            assert_eq!(detect(Features::default()), Paging::Unknown);
        }
    }

    #[test]
    fn what_nobody_says_is_unknown() {
        let detect =
            |parameters: &[_]| Modules::new("unknown", parameters).detect(Flavour::Ordinary, INTEL_PROCESSOR);
        assert_eq!(detect(&[]), Paging::Unknown);
        for value in ["", "\n", "yes", "2", "YY", "\0"] {
            assert_eq!(detect(&[(EPT, value)]), Paging::Unknown, "{value:?}");
        }
        assert_eq!(detect(&[("kvm/parameters/tdp_mmu", "Y")]), Paging::Unknown);
        assert_eq!(detect(&[(NPT, "Y")]), Paging::Unknown, "it is another vendor's");
    }

    #[test]
    fn pvm_has_no_hardware_to_ask_about() {
        let modules = Modules::new("pvm", &[(EPT, "Y")]);
        assert_eq!(modules.detect(Flavour::Pvm, INTEL_PROCESSOR), Paging::Pvm);
    }
}
