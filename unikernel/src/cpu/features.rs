//! What CPUID says the processor can do.
//!
//! On KVM_PVM the instruction runs natively, so these are the host's own leaves.

use core::arch::x86_64::{__cpuid, CpuidResult};

/// First of the leaves that hypervisors use.
pub(crate) const HYPERVISOR_BASE: u32 = 0x4000_0000;

/// Distance to the leaves of the next interface, where a hypervisor has several.
#[cfg(target_os = "none")]
pub(crate) const HYPERVISOR_STRIDE: u32 = 0x100;

/// Bit of CPUID 1 ECX: there is a hypervisor with leaves of its own.
pub(crate) const HYPERVISOR_BIT: u32 = 31;

/// Bit of CPUID 1 ECX: the processor has XSAVE.
pub(crate) const XSAVE_BIT: u32 = 26;

/// "KVMKVMKVM" in EBX, ECX and EDX of the first leaf of KVM's (Linux `Documentation/virt/kvm/x86/cpuid.rst`).
pub(crate) const KVM_SIGNATURE: [u32; 3] = [0x4b4d_564b, 0x564b_4d56, 0x4d];

/// One CPUID leaf, all zero when the processor has no such leaf in the leaf's group.
#[must_use]
pub(crate) fn leaf(number: u32) -> CpuidResult {
    let group = number & 0xffff_0000;
    if __cpuid(group).eax < number {
        return CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    }
    __cpuid(number)
}

/// Whether page tables can hold 1 GiB leaves (CPUID 0x8000_0001 EDX bit 26).
#[must_use]
pub fn has_1g_leaves() -> bool {
    leaf(0x8000_0001).edx & (1 << 26) != 0
}

/// Whether page-table entries have a no-execute bit (CPUID 0x8000_0001 EDX bit 20).
#[must_use]
pub fn has_no_execute() -> bool {
    leaf(0x8000_0001).edx & (1 << 20) != 0
}

/// Whether page-table entries select cache types by the page attribute table (CPUID 1 EDX bit 16).
#[must_use]
pub fn has_page_attribute_table() -> bool {
    leaf(1).edx & (1 << 16) != 0
}

/// How many bits physical addresses have (CPUID 0x8000_0008 EAX bits 7 to 0; 36 where that is not told: Intel SDM volume 3,
/// 4.1.4).
#[must_use]
pub fn physical_address_bits() -> u32 {
    match leaf(0x8000_0008).eax & 0xff {
        0 => 36,
        bits => bits.min(crate::memory::address::PHYSICAL_ADDRESS_BITS),
    }
}

/// What the local APIC can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalApicFeatures {
    /// Its registers can be MSRs (CPUID 1 ECX bit 21).
    pub x2apic: bool,
    /// Its timer takes a deadline (CPUID 1 ECX bit 24).
    pub tsc_deadline: bool,
}

/// What the local APIC can do, if there is one (CPUID 1 EDX bit 9). Reads CPUID once: in a virtual machine that is an exit.
#[must_use]
pub fn local_apic() -> Option<LocalApicFeatures> {
    // Every x86-64 processor has the leaf.
    let CpuidResult { ecx, edx, .. } = __cpuid(1);
    let features = LocalApicFeatures { x2apic: ecx & 1 << 21 != 0, tsc_deadline: ecx & 1 << 24 != 0 };
    (edx & 1 << 9 != 0).then_some(features)
}

/// Whether there is a hypervisor with leaves of its own.
pub(crate) fn has_hypervisor() -> bool {
    leaf(1).ecx & (1 << HYPERVISOR_BIT) != 0
}

/// Frequency of the time stamp counter in Hz as CPUID tells it: the crystal's ratio (leaf 0x15), else the hypervisor's
/// timing leaf (0x4000_0010).
#[must_use]
pub(crate) fn tsc_hz() -> Option<u64> {
    let crystal = leaf(0x15);
    if crystal.eax != 0 && crystal.ebx != 0 && crystal.ecx != 0 {
        return Some(u64::from(crystal.ecx) * u64::from(crystal.ebx) / u64::from(crystal.eax));
    }
    let timing = if has_hypervisor() { leaf(HYPERVISOR_BASE + 0x10).eax } else { 0 };
    (timing != 0).then_some(u64::from(timing) * 1000)
}

/// Whether the hypervisor is KVM with its clock in the MSRs of today (leaf 0x4000_0001 EAX bit 3,
/// `KVM_FEATURE_CLOCKSOURCE2`).
#[must_use]
pub(crate) fn has_kvm_clock() -> bool {
    let signature = leaf(HYPERVISOR_BASE);
    let is_kvm = [signature.ebx, signature.ecx, signature.edx] == KVM_SIGNATURE;
    has_hypervisor() && is_kvm && leaf(HYPERVISOR_BASE + 1).eax & (1 << 3) != 0
}
