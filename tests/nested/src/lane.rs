//! The lanes: which processor is emulated, and what Linux needs to run guests on it.

use clap::ValueEnum;

/// How the nested KVM translates the addresses of its guests a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lane {
    /// AMD's nested paging, on QEMU's TCG.
    Npt,
    /// Intel's extended page tables, on Bochs.
    Ept,
}

impl Lane {
    /// The name in messages and file names.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Npt => "npt",
            Self::Ept => "ept",
        }
    }

    /// Modules of Linux in the order in which they are loaded.
    pub(crate) const fn modules(self) -> [&'static str; 3] {
        match self {
            Self::Npt => ["irqbypass", "kvm", "kvm-amd"],
            Self::Ept => ["irqbypass", "kvm", "kvm-intel"],
        }
    }

    /// The file below `/sys/module` that says whether the second translation is in use.
    pub(crate) const fn parameter(self) -> &'static str {
        match self {
            Self::Npt => "kvm_amd/parameters/npt",
            Self::Ept => "kvm_intel/parameters/ept",
        }
    }

    /// What Linux and `vmm-stub doctor` must have said, or the lane proves nothing.
    pub(crate) const fn required_facts(self) -> [&'static str; 2] {
        match self {
            Self::Npt => ["kvm_amd/parameters/npt Y", "SVM+NPT"],
            Self::Ept => ["kvm_intel/parameters/ept Y", "VMX+EPT"],
        }
    }

    /// Arguments for the system tests: all of them except those of QEMU, of cargo, of disks and of the ROM, what takes
    /// minutes where memory is slow, guests for which the emulated machine is too small, and the spoilt images, which try
    /// the VMM and not the processor.
    pub(crate) fn tests(self) -> Vec<&'static str> {
        let skipped: &[_] = match self {
            Self::Npt => &[
                "qemu",
                "new/",
                "disk/",
                "rom/",
                "/corruption",
                "memory_stress/3G",
                "memory_stress/6G",
                "churns/6G",
                "all_work/",
            ],
            Self::Ept => &[
                "qemu",
                "new/",
                "disk/",
                "rom/",
                "/corruption",
                "all_work/",
                "after_each_churn",
                "/1G",
                "/3G",
                "/6G",
            ],
        };
        skipped.iter().flat_map(|&name| ["--skip", name]).collect()
    }
}
