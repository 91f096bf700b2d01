//! The switch to native running on KVM_PVM (`pvm_switch.s`), with the numbers that it shares with Rust.
//!
//! What the host demands is set as `vmm-stub` sets it, all but XCR0: the emulator lacks `xsetbv`. The guest has the host's
//! XCR0 there once it runs natively, whatever the VMM gave the vCPU, and [vectors](crate::cpu::vectors) are what that allows.

#[cfg(target_os = "none")]
mod assembly {
    use crate::cpu::features::{
        HYPERVISOR_BASE, HYPERVISOR_BIT, HYPERVISOR_STRIDE, KVM_SIGNATURE, XSAVE_BIT,
    };
    use crate::cpu::host::Host;
    use crate::memory::guarded_stack::{BOOT_STACK, BOOT_STACK_LEN, GUARD_LEN};
    use core::arch::global_asm;
    use guest_interface::kvm_pvm;
    use x86::irq::GENERAL_PROTECTION_FAULT_VECTOR;
    use x86::msr::IA32_EFER;

    /// Type and attributes of a present 64-bit interrupt gate for level 0 (Intel SDM volume 3, figure 7-8).
    const INTERRUPT_GATE: u16 = 0x8e00;
    /// RFLAGS with interrupts off: only the bit that is always set.
    const FLAGS: u64 = 1 << 1;

    global_asm!(
        include_str!("pvm_switch.s"),
        cpuid_hypervisor = const HYPERVISOR_BIT,
        cpuid_xsave = const XSAVE_BIT,
        hypervisor_base = const HYPERVISOR_BASE,
        hypervisor_stride = const HYPERVISOR_STRIDE,
        kvm_ebx = const KVM_SIGNATURE[0],
        kvm_ecx = const KVM_SIGNATURE[1],
        kvm_edx = const KVM_SIGNATURE[2],
        general_protection = const GENERAL_PROTECTION_FAULT_VECTOR,
        interrupt_gate = const INTERRUPT_GATE,
        ring_zero_code_selector = const Host::RingZero.code_selector().bits(),
        msr_signature = const kvm_pvm::MSR_SIGNATURE,
        msr_native = const kvm_pvm::MSR_NATIVE,
        signature = const kvm_pvm::SIGNATURE,
        cr0 = const kvm_pvm::CR0,
        cr3_native = const kvm_pvm::CR3_NATIVE,
        cr4 = const kvm_pvm::CR4,
        cr4_osxsave = const kvm_pvm::CR4_OSXSAVE,
        msr_efer = const IA32_EFER,
        efer = const kvm_pvm::EFER,
        code_selector = const kvm_pvm::CODE_SELECTOR,
        data_selector = const kvm_pvm::DATA_SELECTOR,
        flags = const FLAGS,
        stack = sym BOOT_STACK,
        stack_len = const GUARD_LEN + BOOT_STACK_LEN,
    );
}
