//! Which kind of host runs this kernel, and all that follows from it.
//!
//! | | ring 0 | PVM, level 3 |
//! |---|---|---|
//! | where | KVM on VMX or SVM, QEMU, Firecracker, Cloud Hypervisor | KVM_PVM, native |
//! | start | 32-bit PVH entry | 64-bit entry at privilege level 3, by `vmm-stub`; by any other VMM the 32-bit PVH entry, which is emulated until it has found out where it is, and switches itself to native running |
//! | page tables | user bit clear | user bit set at every level; root slot 256 is the host's |
//! | root table | in any page | in an odd page: with bit 12 of CR3 clear the host emulates, 1000 times slower |
//! | 1 GiB leaves | if CPUID has them | never, whatever CPUID says |
//! | gates | interrupt gates: entered masked | trap gates: handlers mask themselves, and RFLAGS.IF always reads 1 |
//! | `iretq` | unmasks | does not: entries unmask just before, and the host, too, lets one instruction pass behind `sti` |
//! | local APIC | an interrupt is in service until it is ended | none is ever in service: the next may come at once |
//! | double fault | on the stack of its gate (IST) | the host ignores the IST: its gate leads to level 0, where the handler is emulated, so that the processor switches to the TSS's RSP0, which must lie in the upper half |
//! | one TLB flush of a page | cheap | a trap, as dear as flushing all |

use super::features;
use guest_interface::kvm_pvm;
use spin::Once;
use x86::Ring;
use x86::bits64::paging::PTFlags;
use x86::segmentation::{self, SegmentSelector};

/// Index of the 64-bit code segment of level 0 in the kernel's GDT.
pub(crate) const KERNEL_CODE_INDEX: u16 = 1;
/// Index of the data segment of level 0.
pub(crate) const KERNEL_DATA_INDEX: u16 = 2;
/// Index of the two-entry TSS descriptor.
pub(crate) const TSS_INDEX: u16 = 3;
/// Index of the data segment of level 3, fixed by KVM_PVM.
pub(crate) const USER_DATA_INDEX: u16 = index_of(kvm_pvm::DATA_SELECTOR);
/// Index of the 64-bit code segment of level 3, fixed by KVM_PVM.
pub(crate) const USER_CODE_INDEX: u16 = index_of(kvm_pvm::CODE_SELECTOR);

/// The GDT entry that a selector names.
const fn index_of(selector: u16) -> u16 {
    selector >> 3
}

/// The host, decided once at the start and passed to whoever depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The kernel runs at privilege level 0 of a machine, real or virtual.
    RingZero,
    /// The kernel runs natively at privilege level 3 under KVM_PVM.
    PvmLevel3,
}

/// Whether a gate masks interrupts on entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateType {
    /// Interrupts are masked by the processor.
    Interrupt,
    /// Interrupts stay as they are.
    Trap,
}

impl Host {
    /// The host of this machine, decided by the first call.
    #[must_use]
    pub fn of_machine() -> Self {
        static OF_MACHINE: Once<Host> = Once::new();
        *OF_MACHINE.call_once(Self::detect)
    }

    /// Reads the privilege level the kernel was started at.
    #[must_use]
    fn detect() -> Self {
        Self::from_code_selector(segmentation::cs())
    }

    /// The host whose kernels run with this code selector.
    fn from_code_selector(selector: SegmentSelector) -> Self {
        if selector.bits() & 3 == Ring::Ring3 as u16 { Self::PvmLevel3 } else { Self::RingZero }
    }

    /// Whether a hypervisor runs this kernel. At level 3 one always does, whatever the processor says: that is of the host.
    #[must_use]
    pub fn is_virtual(self) -> bool {
        matches!(self, Self::PvmLevel3) || features::has_hypervisor()
    }

    /// The name used in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingZero => "ring 0",
            Self::PvmLevel3 => "PVM level 3",
        }
    }

    /// Selector of the kernel's code segment, which gates lead to.
    #[must_use]
    pub const fn code_selector(self) -> SegmentSelector {
        match self {
            Self::RingZero => SegmentSelector::new(KERNEL_CODE_INDEX, Ring::Ring0),
            Self::PvmLevel3 => SegmentSelector::new(USER_CODE_INDEX, Ring::Ring3),
        }
    }

    /// Selector of the code segment that the gate of a double fault leads to: on both hosts one that makes the
    /// processor leave a stack that has overflowed.
    #[must_use]
    pub const fn double_fault_selector(self) -> SegmentSelector {
        Self::RingZero.code_selector()
    }

    /// Selector of the kernel's data and stack segments.
    #[must_use]
    pub const fn data_selector(self) -> SegmentSelector {
        match self {
            Self::RingZero => SegmentSelector::new(KERNEL_DATA_INDEX, Ring::Ring0),
            Self::PvmLevel3 => SegmentSelector::new(USER_DATA_INDEX, Ring::Ring3),
        }
    }

    /// Type of the gates of the IDT. A native `iretq` on PVM can't restore the virtual interrupt flag that an interrupt
    /// gate would clear, so gates there leave it alone.
    #[must_use]
    pub const fn gate_type(self) -> GateType {
        match self {
            Self::RingZero => GateType::Interrupt,
            Self::PvmLevel3 => GateType::Trap,
        }
    }

    /// Whether a handler has to mask interrupts itself before it takes a lock.
    #[must_use]
    pub const fn handlers_start_unmasked(self) -> bool {
        matches!(self.gate_type(), GateType::Trap)
    }

    /// The user bit as page-table entries of every level must have it.
    #[must_use]
    pub const fn user_bit(self) -> PTFlags {
        match self {
            Self::RingZero => PTFlags::empty(),
            Self::PvmLevel3 => PTFlags::US,
        }
    }

    /// Whether page tables may hold 1 GiB leaves. `cpuid_has_them` is what the processor says; at level 3 that is the
    /// host's own processor, and the host takes such leaves for malformed.
    #[must_use]
    pub const fn takes_1g_leaves(self, cpuid_has_them: bool) -> bool {
        matches!(self, Self::RingZero) && cpuid_has_them
    }

    /// Whether the root table must lie in a frame with an odd number.
    #[must_use]
    pub const fn wants_root_in_odd_frame(self) -> bool {
        matches!(self, Self::PvmLevel3)
    }

    /// Number of pages from which flushing the whole TLB costs less than flushing them one by one.
    #[must_use]
    pub const fn flush_all_threshold_pages(self) -> usize {
        match self {
            Self::RingZero => 32,
            Self::PvmLevel3 => 2,
        }
    }

    /// How much of the heap a page fault had best map by small pages, in bytes: at level 3 the fault itself costs as much as
    /// mapping ten pages.
    #[must_use]
    pub const fn fault_around_bytes(self) -> u64 {
        match self {
            Self::RingZero => 16 << 10,
            Self::PvmLevel3 => 64 << 10,
        }
    }

    /// Whether the kernel sets up control registers and EFER itself. On PVM the VMM, or the switch to native
    /// running, has set them.
    #[must_use]
    pub const fn owns_control_registers(self) -> bool {
        matches!(self, Self::RingZero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selectors_are_those_the_host_demands() {
        assert_eq!(Host::RingZero.code_selector().bits(), 0x08);
        assert_eq!(Host::RingZero.data_selector().bits(), 0x10);
        assert_eq!(Host::PvmLevel3.code_selector().bits(), 0x33, "fixed by KVM_PVM");
        assert_eq!(Host::PvmLevel3.data_selector().bits(), 0x2b, "fixed by KVM_PVM");
    }

    #[test]
    fn a_host_is_known_by_its_own_code_selector() {
        for host in [Host::RingZero, Host::PvmLevel3] {
            assert_eq!(Host::from_code_selector(host.code_selector()), host);
        }
    }

    #[test]
    fn a_process_runs_at_level_3() {
        assert_eq!(Host::detect(), Host::PvmLevel3);
    }
}
