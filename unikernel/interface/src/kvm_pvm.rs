//! KVM_PVM: a KVM that needs no hardware virtualization. It emulates a guest at ring 0 slowly and in part, and runs one
//! natively that is in 64-bit mode at privilege level 3, has the state below, and says so in a paravirtual MSR.
//!
//! A VMM may give a vCPU that state, or the guest may take it on from emulated ring 0. Nothing of this is documented by KVM; it
//! was found by experiment. On a KVM that is not PVM the MSRs don't exist.

/// MSR that takes 1 from a guest that is to run natively.
pub const MSR_NATIVE: u32 = 0x4b56_4d10;

/// MSR that reads as [`SIGNATURE`]. A KVM told to ignore unknown MSRs has both, too, but not the signature.
pub const MSR_SIGNATURE: u32 = 0x4b56_4d11;

/// "PVM".
pub const SIGNATURE: u32 = 0x4d_5650;

/// CR0: paging, write protection, and an FPU without emulation.
pub const CR0: u32 = 0x8005_0033;

/// CR4: physical address extension, FXSAVE and SSE exceptions; where the processor has XSAVE, [`CR4_OSXSAVE`] besides.
pub const CR4: u32 = 0x620;

/// CR4's bit for XSAVE, which the AVX registers need.
pub const CR4_OSXSAVE: u32 = 1 << 18;

/// IA32_EFER: long mode active and enabled, no-execute, `syscall`.
pub const EFER: u32 = 0xd01;

/// Bit of CR3 that must be set, so that the root of the page tables lies in an odd page: with it clear KVM_PVM emulates
/// every instruction. Why is not known; Linux with page-table isolation tells its user from its kernel root by this bit.
pub const CR3_NATIVE: u32 = 1 << 12;

/// Selector of the code segment: entry 6 of the GDT, at level 3.
pub const CODE_SELECTOR: u16 = 0x33;

/// Selector of the data and stack segments: entry 5 of the GDT, at level 3.
pub const DATA_SELECTOR: u16 = 0x2b;
