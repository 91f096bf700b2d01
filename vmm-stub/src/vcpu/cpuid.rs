//! The CPUID of a vCPU: all that KVM supports, corrected where KVM leaves it to the VMM.

use kvm_bindings::CpuId;

/// Leaf with the first feature bits; EBX 31..24 is the APIC id.
const FEATURES: u32 = 1;
const FEATURES_ECX_TSC_DEADLINE: u32 = 1 << 24;
const FEATURES_ECX_HYPERVISOR: u32 = 1 << 31;
const FEATURES_EBX_APIC_ID_SHIFT: u32 = 24;
/// Topology leaves; EDX is the x2APIC id.
const TOPOLOGY: [u32; 2] = [0xb, 0x1f];

/// Corrects what KVM_GET_SUPPORTED_CPUID returned. It has the APIC ids of the processor that executed the call, and
/// leaves the TSC deadline to be set by whoever checked its capability (KVM API documentation, 4.46).
pub(crate) fn correct(cpuid: &mut CpuId, vcpu_index: u8, tsc_deadline: bool) {
    for leaf in cpuid.as_mut_slice() {
        if leaf.function == FEATURES {
            leaf.ecx |= FEATURES_ECX_HYPERVISOR;
            if tsc_deadline {
                leaf.ecx |= FEATURES_ECX_TSC_DEADLINE;
            }
            let others = leaf.ebx & ((1 << FEATURES_EBX_APIC_ID_SHIFT) - 1);
            leaf.ebx = others | u32::from(vcpu_index) << FEATURES_EBX_APIC_ID_SHIFT;
        } else if TOPOLOGY.contains(&leaf.function) {
            leaf.edx = vcpu_index.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_bindings::kvm_cpuid_entry2;

    fn corrected(entry: kvm_cpuid_entry2, tsc_deadline: bool) -> kvm_cpuid_entry2 {
        let mut cpuid = CpuId::from_entries(&[entry]).unwrap();
        correct(&mut cpuid, 2, tsc_deadline);
        cpuid.as_slice()[0]
    }

    #[test]
    fn the_apic_ids_are_the_vcpus() {
        let features = kvm_cpuid_entry2 { function: 1, ebx: 0x1f02_0800, ..Default::default() };
        assert_eq!(corrected(features, false).ebx, 0x0202_0800);
        for function in TOPOLOGY {
            let topology = kvm_cpuid_entry2 { function, ebx: 7, edx: 0x1f, ..Default::default() };
            let topology = corrected(topology, false);
            assert_eq!((topology.ebx, topology.edx), (7, 2));
        }
    }

    #[test]
    fn feature_bits_follow_the_capability() {
        let features = kvm_cpuid_entry2 { function: 1, ecx: 1, ..Default::default() };
        assert_eq!(corrected(features, false).ecx, 0x8000_0001);
        assert_eq!(corrected(features, true).ecx, 0x8100_0001);
    }

    #[test]
    fn other_leaves_stay_as_they_are() {
        let other = kvm_cpuid_entry2 { function: 7, eax: 1, ebx: 2, ecx: 3, edx: 4, ..Default::default() };
        assert_eq!(corrected(other, true), other);
    }
}
