//! The assembly head (`head.s`), with the numbers that it shares with Rust.

#[cfg(target_os = "none")]
mod assembly {
    use crate::cpu::host::Host;
    use crate::memory::guarded_stack::{BOOT_STACK, BOOT_STACK_LEN, GUARD_LEN};
    use core::arch::global_asm;
    use x86::bits64::paging::{PDFlags, PTFlags};
    use x86::controlregs::{Cr0, Cr4};
    use x86::msr::IA32_EFER;

    /// IA32_EFER.LME, long mode enable (Intel SDM volume 4).
    const EFER_LONG_MODE_ENABLE: u32 = 1 << 8;
    /// With the user bit, which level 3 of KVM_PVM needs and ring 0 does not mind: the CR4 below protects neither from the other.
    const TABLE: u64 = PTFlags::P.bits() | PTFlags::RW.bits() | PTFlags::US.bits();
    const LEAF_2M: u64 = TABLE | PDFlags::PS.bits();
    const CR4: usize = Cr4::CR4_ENABLE_PAE.bits();
    /// Protected mode and paging, with read-only pages respected at level 0, too.
    const CR0: usize = Cr0::CR0_PROTECTED_MODE.bits()
        | Cr0::CR0_MONITOR_COPROCESSOR.bits()
        | Cr0::CR0_EXTENSION_TYPE.bits()
        | Cr0::CR0_NUMERIC_ERROR.bits()
        | Cr0::CR0_WRITE_PROTECT.bits()
        | Cr0::CR0_ENABLE_PAGING.bits();

    global_asm!(
        include_str!("head.s"),
        image_base = const guest_interface::layout::IMAGE_BASE,
        table = const TABLE,
        leaf = const LEAF_2M,
        cr3_native = const guest_interface::kvm_pvm::CR3_NATIVE,
        cr0 = const CR0,
        cr4 = const CR4,
        efer = const IA32_EFER,
        efer_lme = const EFER_LONG_MODE_ENABLE,
        code_selector = const Host::RingZero.code_selector().bits(),
        data_selector = const Host::RingZero.data_selector().bits(),
        stack = sym BOOT_STACK,
        stack_len = const GUARD_LEN + BOOT_STACK_LEN,
        start = sym crate::boot::start,
    );
}
