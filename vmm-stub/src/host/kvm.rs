//! Opens KVM up to the point where a machine can be built on it, or says why not. Doctor, `--host auto` and a run all
//! take this path, so that none of them promises what another can't do.

use crate::host::{local_apic, pvm};
use crate::memory::layout::FIRMWARE_LEN_MAX;
use guest_interface::layout::{DEVICE_HOLE_END, DEVICE_HOLE_START};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use nix::errno::Errno;
use std::io;

/// The one version of the KVM API there has been since Linux 2.6.22.
pub(crate) const API_VERSION: i32 = 12;

/// Where Intel processors without unrestricted guest mode keep a page table and a TSS of three pages while a guest has
/// paging off, or is in real mode: below the firmware at the end of the device hole, where no device is.
const TSS: u64 = DEVICE_HOLE_END - FIRMWARE_LEN_MAX - 0x3000;
const IDENTITY_MAP: u64 = TSS - 0x1000;
const _: () = assert!(IDENTITY_MAP >= DEVICE_HOLE_START && TSS + 0x3000 <= DEVICE_HOLE_END);

/// What every machine needs, with the names of the KVM API.
pub(crate) const REQUIRED: [(Cap, &str); 2] =
    [(Cap::UserMemory, "KVM_CAP_USER_MEMORY"), (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID")];

/// How a KVM runs guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// With hardware virtualization: from the 32-bit PVH entry, at ring 0.
    Ordinary,
    /// KVM_PVM: natively at privilege level 3, from the 64-bit entry.
    Pvm,
}

impl Flavour {
    /// The name in messages.
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary KVM, guests at ring 0",
            Self::Pvm => "KVM_PVM, guests native at privilege level 3",
        }
    }

    /// The name in machine-readable output.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "kvm",
            Self::Pvm => "kvm-pvm",
        }
    }
}

/// Why KVM can't be used here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KvmUnusable {
    #[error("there is no KVM (/dev/kvm: {0})")]
    Missing(io::Error),

    #[error("/dev/kvm may not be opened ({0})")]
    NoPermission(io::Error),

    #[error("/dev/kvm can't be opened ({0})")]
    Open(io::Error),

    #[error("KVM has API version {0} and not {API_VERSION}")]
    WrongVersion(i32),

    #[error("KVM lacks {0}")]
    MissingCapability(&'static str),

    #[error("KVM is there and can't {what} ({source})")]
    Refuses { what: &'static str, source: io::Error },
}

impl KvmUnusable {
    /// What to do about it.
    pub(crate) const fn advice(&self) -> &'static str {
        match self {
            Self::Missing(_) => {
                "load its module with `modprobe kvm_intel` or `modprobe kvm_amd`, enable virtualization in the \
                 firmware, or use --host qemu"
            }
            Self::NoPermission(_) => {
                "join its group with `sudo usermod -aG kvm $USER` and log in again, or use --host qemu"
            }
            Self::Open(_) => "see what the system's log says, or use --host qemu",
            Self::WrongVersion(_) | Self::MissingCapability(_) => "use a newer Linux, or --host qemu",
            Self::Refuses { .. } => "see what `dmesg` says, or use --host qemu",
        }
    }
}

/// A virtual machine with one vCPU, its local APIC, and no memory yet.
pub(crate) struct KvmHost {
    pub(crate) kvm: Kvm,
    pub(crate) vm: VmFd,
    pub(crate) vcpu: VcpuFd,
    pub(crate) flavour: Flavour,
}

impl KvmHost {
    /// Opens `/dev/kvm`, checks it, and creates a machine.
    ///
    /// # Errors
    /// [`KvmUnusable`], which says what to do.
    pub(crate) fn open() -> Result<Self, KvmUnusable> {
        let kvm = Kvm::new().map_err(|error| classify_open_error(error.into()))?;
        let version = kvm.get_api_version();
        if version != API_VERSION {
            return Err(KvmUnusable::WrongVersion(version));
        }
        if let Some((_, name)) = REQUIRED.into_iter().find(|(cap, _)| !kvm.check_extension(*cap)) {
            return Err(KvmUnusable::MissingCapability(name));
        }
        let vm = create_vm(&kvm).map_err(refuses("create a machine"))?;
        if kvm.check_extension(Cap::SetIdentityMapAddr) {
            vm.set_identity_map_address(IDENTITY_MAP).map_err(refuses("place its page table"))?;
        }
        if kvm.check_extension(Cap::SetTssAddr) {
            vm.set_tss_address(TSS as usize).map_err(refuses("place its TSS"))?;
        }
        local_apic::create(&kvm, &vm).map_err(refuses("give it local APICs"))?;
        let vcpu = vm.create_vcpu(0).map_err(refuses("create a vCPU"))?;
        let flavour = if pvm::detect(&vcpu) { Flavour::Pvm } else { Flavour::Ordinary };
        Ok(Self { kvm, vm, vcpu, flavour })
    }
}

/// A signal that arrives during the creation makes KVM give up with EINTR.
fn create_vm(kvm: &Kvm) -> Result<VmFd, kvm_ioctls::Error> {
    loop {
        match kvm.create_vm() {
            Err(error) if error.errno() == Errno::EINTR as i32 => {}
            result => return result,
        }
    }
}

fn refuses(what: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> KvmUnusable {
    move |source| KvmUnusable::Refuses { what, source: source.into() }
}

/// What a failure to open `/dev/kvm` means. The node exists without its driver in many containers.
fn classify_open_error(error: io::Error) -> KvmUnusable {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENXIO | Errno::ENODEV | Errno::ENOTDIR) => KvmUnusable::Missing(error),
        Some(Errno::EACCES | Errno::EPERM) => KvmUnusable::NoPermission(error),
        _ => KvmUnusable::Open(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(errno: Errno) -> &'static str {
        classify_open_error(errno.into()).advice()
    }

    #[test]
    fn each_reason_says_what_to_do() {
        assert!(advice(Errno::ENOENT).contains("modprobe"));
        assert!(advice(Errno::ENODEV).contains("modprobe"), "a node without a driver");
        assert!(advice(Errno::EACCES).contains("usermod -aG kvm"));
        assert!(advice(Errno::EPERM).contains("usermod -aG kvm"));
    }

    #[test]
    fn every_reason_names_the_way_without_kvm_in_one_line() {
        let reasons = [
            classify_open_error(Errno::ENOENT.into()),
            classify_open_error(Errno::EACCES.into()),
            classify_open_error(Errno::EMFILE.into()),
            KvmUnusable::WrongVersion(11),
            KvmUnusable::MissingCapability("KVM_CAP_USER_MEMORY"),
            KvmUnusable::Refuses { what: "create a machine", source: Errno::ENOMEM.into() },
        ];
        for reason in reasons {
            assert!(reason.advice().contains("--host qemu"), "{reason}");
            assert!(!format!("{reason}{}", reason.advice()).contains('\n'), "{reason}");
        }
    }
}
