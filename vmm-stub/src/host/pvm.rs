//! Guests of [KVM_PVM](kvm_pvm), which run natively from their first instruction on: the VMM gives them the state that this
//! takes.

use crate::error::Error;
use crate::vcpu::registers::{self, BOOT_FLAGS};
use guest_interface::kvm_pvm::{self, MSR_NATIVE, MSR_SIGNATURE, SIGNATURE};
use guest_interface::layout::{BOOT_PAGE_TABLES, START_INFO};
use kvm_bindings::{CpuId, Msrs, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs, kvm_xcr, kvm_xcrs};
use kvm_ioctls::VcpuFd;

const LEVEL: u8 = 3;

/// CPUID leaf whose first subleaf has the XCR0 bits that may be set.
const CPUID_XSAVE: u32 = 0xd;

/// Whether the vCPU is one of KVM_PVM. A KVM told to ignore unknown MSRs accepts them, too, but has not the signature.
pub(crate) fn detect(vcpu: &VcpuFd) -> bool {
    read_msr(vcpu, MSR_NATIVE).is_some() && read_msr(vcpu, MSR_SIGNATURE) == Some(SIGNATURE.into())
}

/// Makes a vCPU, whose CPUID is set, start natively at `entry`, with the [page tables](crate::boot::page_tables) that
/// lie in guest memory.
///
/// # Errors
/// [`Error::KvmRefuses`] if KVM does not take the state.
pub(crate) fn set_start_state(vcpu: &VcpuFd, cpuid: &CpuId, entry: u64) -> Result<(), Error> {
    let xcr0 = supported_xcr0(cpuid);
    let initial = vcpu.get_sregs().map_err(Error::kvm("to read the registers"))?;
    vcpu.set_sregs(&special_registers(initial, xcr0.is_some()))
        .map_err(Error::kvm("the registers of a level 3 start"))?;
    if let Some(xcr0) = xcr0 {
        vcpu.set_xcrs(&extended_control_registers(xcr0)).map_err(Error::kvm("the vector state"))?;
    }
    write_msr(vcpu, MSR_NATIVE, 1)?;
    vcpu.set_regs(&general_registers(entry)).map_err(Error::kvm("the entry point"))
}

const fn segment(selector: u16, code: bool) -> kvm_segment {
    kvm_segment {
        dpl: LEVEL,
        // A 64-bit code segment has L set and D clear.
        l: code as u8,
        db: !code as u8,
        ..registers::flat_segment(selector, code)
    }
}

const fn special_registers(initial: kvm_sregs, xsave: bool) -> kvm_sregs {
    let cr4 = if xsave { kvm_pvm::CR4 | kvm_pvm::CR4_OSXSAVE } else { kvm_pvm::CR4 };
    let data = segment(kvm_pvm::DATA_SELECTOR, false);
    kvm_sregs {
        cr0: kvm_pvm::CR0 as u64,
        cr3: BOOT_PAGE_TABLES,
        cr4: cr4 as u64,
        efer: kvm_pvm::EFER as u64,
        cs: segment(kvm_pvm::CODE_SELECTOR, true),
        ds: data,
        es: data,
        fs: data,
        gs: data,
        ss: data,
        ldt: registers::unusable_segment(),
        ..initial
    }
}

fn general_registers(entry: u64) -> kvm_regs {
    kvm_regs { rip: entry, rbx: START_INFO, rflags: BOOT_FLAGS, ..Default::default() }
}

fn extended_control_registers(xcr0: u64) -> kvm_xcrs {
    let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
    xcrs.xcrs[0] = kvm_xcr { xcr: 0, value: xcr0, ..Default::default() };
    xcrs
}

/// All of XCR0 that the CPUID allows, or `None` without XSAVE.
fn supported_xcr0(cpuid: &CpuId) -> Option<u64> {
    let leaf = cpuid.as_slice().iter().find(|leaf| leaf.function == CPUID_XSAVE && leaf.index == 0)?;
    Some(u64::from(leaf.eax) | u64::from(leaf.edx) << 32).filter(|&xcr0| xcr0 != 0)
}

fn read_msr(vcpu: &VcpuFd, index: u32) -> Option<u64> {
    let mut msrs = Msrs::from_entries(&[kvm_msr_entry { index, ..Default::default() }]).ok()?;
    match vcpu.get_msrs(&mut msrs) {
        Ok(1) => msrs.as_slice().first().map(|entry| entry.data),
        _ => None,
    }
}

fn write_msr(vcpu: &VcpuFd, index: u32, data: u64) -> Result<(), Error> {
    const WHAT: &str = "to run natively at level 3";
    let refused = || Error::KvmRefuses { what: WHAT, source: nix::Error::EINVAL.into() };
    let msrs = Msrs::from_entries(&[kvm_msr_entry { index, data, ..Default::default() }]);
    match vcpu.set_msrs(&msrs.map_err(|_| refused())?) {
        Ok(1) => Ok(()),
        Ok(_) => Err(refused()),
        Err(source) => Err(Error::kvm(WHAT)(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_bindings::kvm_cpuid_entry2;

    #[test]
    fn a_native_start_is_64_bit_at_level_3() {
        let state = special_registers(kvm_sregs::default(), true);
        assert_eq!(
            (state.cs.selector, state.cs.dpl, state.cs.l, state.cs.db, state.cs.type_),
            (0x33, 3, 1, 0, 11)
        );
        for data in [state.ss, state.ds, state.es, state.fs, state.gs] {
            assert_eq!((data.selector, data.dpl, data.l, data.type_), (0x2b, 3, 0, 3));
        }
        assert_eq!(state.cr4, 0x4_0620);
        assert_eq!(special_registers(kvm_sregs::default(), false).cr4, 0x620, "no XSAVE to announce");
    }

    #[test]
    fn all_vector_state_the_cpuid_has_is_enabled() {
        let leaf =
            |index, eax, edx| kvm_cpuid_entry2 { function: 0xd, index, eax, edx, ..Default::default() };
        let xcr0 = |entries: &[_]| supported_xcr0(&CpuId::from_entries(entries).unwrap());
        assert_eq!(xcr0(&[leaf(1, 0xff, 0), leaf(0, 0x2e7, 1)]), Some(0x1_0000_02e7));
        assert_eq!(xcr0(&[leaf(0, 0, 0)]), None);
        assert_eq!(xcr0(&[]), None);
    }
}
