//! The local APICs of a machine, which KVM emulates: timers and interrupts between processors without exits to the VMM.
//!
//! There is no other interrupt controller, since no device here has an interrupt line. Where KVM can't have local APICs
//! alone it has the rest of a PC's interrupt controllers, too, at whose lines nobody pulls.

use kvm_bindings::{KVM_CAP_SPLIT_IRQCHIP, kvm_enable_cap};
use kvm_ioctls::{Cap, Kvm, VmFd};

/// Routes kept for the lines of I/O APICs, of which there are none.
const IO_APIC_LINES: u64 = 0;

/// Gives a machine local APICs, before it has vCPUs.
///
/// # Errors
/// What KVM says.
pub(crate) fn create(kvm: &Kvm, vm: &VmFd) -> Result<(), kvm_ioctls::Error> {
    if kvm.check_extension(Cap::SplitIrqchip) {
        let split = kvm_enable_cap {
            cap: KVM_CAP_SPLIT_IRQCHIP,
            args: [IO_APIC_LINES, 0, 0, 0],
            ..Default::default()
        };
        if vm.enable_cap(&split).is_ok() {
            return Ok(());
        }
    }
    vm.create_irq_chip()
}
