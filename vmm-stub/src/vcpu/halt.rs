//! Notices a vCPU that has halted for ever.
//!
//! With its local APIC in KVM, a vCPU halts in KVM, too, and no exit tells of it. So the thread that waits for the machine
//! kicks the vCPU [now and then](CHECK_INTERVAL), and after each kick this looks whether it has halted with nothing left to
//! wake it: interrupts off, or none pending and no timer running. There is one vCPU and no device with an interrupt, so
//! that nobody else will wake it. A vCPU that does not halt is looked at, too, which costs one call of KVM. A pending
//! interrupt counts as one that wakes, even where its priority keeps it out.

use kvm_bindings::{KVM_MP_STATE_HALTED, Msrs, kvm_lapic_state, kvm_msr_entry, kvm_regs};
use kvm_ioctls::VcpuFd;
use std::time::Duration;

/// Time between two kicks.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// How many looks in a row have to find the same halt. One could fall between the end of a timer that counts down and the
/// interrupt that it becomes, and a guest that sleeps in step with the kicks halts at the same place each time; but not with
/// the same in all its registers.
const LOOKS: u32 = 4;

const IA32_TSC_DEADLINE: u32 = 0x6e0;

/// Registers of the local APIC (Intel SDM volume 3, table 11-1).
const INTERRUPT_REQUEST: [usize; 8] = [0x200, 0x210, 0x220, 0x230, 0x240, 0x250, 0x260, 0x270];
const LVT_TIMER: usize = 0x320;
const INITIAL_COUNT: usize = 0x380;
const CURRENT_COUNT: usize = 0x390;
const LVT_MASKED: u32 = 1 << 16;
/// Timer modes, in bits 18 and 17 of the timer's vector table entry.
const LVT_TIMER_MODE_SHIFT: u32 = 17;
const PERIODIC: u32 = 1;
const TSC_DEADLINE: u32 = 2;

/// What the last look at a vCPU has found.
#[derive(Debug, Default)]
pub(crate) struct HaltWatch {
    /// Registers of a vCPU that seemed to have halted for ever.
    suspect: Option<kvm_regs>,
    /// How many looks in a row have found them.
    looks: u32,
}

impl HaltWatch {
    /// Looks at a vCPU that a signal took out of the guest; whether it has halted for ever, by this look and those before.
    pub(crate) fn has_halted_for_ever(&mut self, vcpu: &mut VcpuFd) -> bool {
        self.note(registers_in_endless_halt(vcpu))
    }

    fn note(&mut self, found: Option<kvm_regs>) -> bool {
        let again = found.is_some() && found == self.suspect;
        self.looks = if again { self.looks + 1 } else { u32::from(found.is_some()) };
        self.suspect = found;
        self.looks >= LOOKS
    }
}

/// The registers of a vCPU, if it has halted and nothing can wake it. `None` also if KVM does not tell.
fn registers_in_endless_halt(vcpu: &mut VcpuFd) -> Option<kvm_regs> {
    if vcpu.get_mp_state().ok()?.mp_state != KVM_MP_STATE_HALTED {
        return None;
    }
    if vcpu.get_kvm_run().if_flag != 0 {
        // The deadline first: one that passes in between is an interrupt in what is read next.
        let deadline = tsc_deadline(vcpu)?;
        if can_interrupt(&vcpu.get_lapic().ok()?, deadline) {
            return None;
        }
    }
    vcpu.get_regs().ok()
}

/// Whether an interrupt waits in a local APIC, or its timer runs and will become one.
fn can_interrupt(lapic: &kvm_lapic_state, tsc_deadline: u64) -> bool {
    let timer = register(lapic, LVT_TIMER);
    let runs = match timer >> LVT_TIMER_MODE_SHIFT & 3 {
        TSC_DEADLINE => tsc_deadline != 0,
        PERIODIC => register(lapic, INITIAL_COUNT) != 0,
        _ => register(lapic, CURRENT_COUNT) != 0,
    };
    let waits = INTERRUPT_REQUEST.iter().any(|&offset| register(lapic, offset) != 0);
    waits || runs && timer & LVT_MASKED == 0
}

fn register(lapic: &kvm_lapic_state, offset: usize) -> u32 {
    let byte = |index: usize| lapic.regs[offset + index] as u8;
    u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
}

/// The deadline of the timer, where 0 is none; `None` if KVM does not tell.
fn tsc_deadline(vcpu: &VcpuFd) -> Option<u64> {
    let entry = kvm_msr_entry { index: IA32_TSC_DEADLINE, ..Default::default() };
    let mut msrs = Msrs::from_entries(&[entry]).ok()?;
    match vcpu.get_msrs(&mut msrs) {
        Ok(1) => msrs.as_slice().first().map(|entry| entry.data),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lapic(registers: &[(usize, u32)]) -> kvm_lapic_state {
        let mut lapic = kvm_lapic_state::default();
        for &(offset, value) in registers {
            for (index, byte) in value.to_le_bytes().into_iter().enumerate() {
                lapic.regs[offset + index] = byte as _;
            }
        }
        lapic
    }

    #[test]
    fn only_the_same_halt_time_after_time_is_one_for_ever() {
        let at = |rip, rax| Some(kvm_regs { rip, rax, ..Default::default() });
        let mut watch = HaltWatch::default();
        assert!((1..LOOKS).all(|_| !watch.note(at(1, 5))));
        assert!(watch.note(at(1, 5)));
        for other in [None, at(2, 5), at(1, 6)] {
            let mut watch = HaltWatch::default();
            assert!((1..LOOKS).all(|_| !watch.note(at(1, 5))));
            assert!(!watch.note(other), "it has run in between");
            assert!((2..LOOKS).all(|_| !watch.note(at(1, 5))));
        }
    }

    #[test]
    fn a_running_timer_can_interrupt() {
        const DEADLINE: u32 = TSC_DEADLINE << 17 | 0xe0;
        assert!(can_interrupt(&lapic(&[(LVT_TIMER, DEADLINE)]), 1));
        assert!(!can_interrupt(&lapic(&[(LVT_TIMER, DEADLINE)]), 0), "no deadline");
        assert!(!can_interrupt(&lapic(&[(LVT_TIMER, DEADLINE | LVT_MASKED)]), 1), "masked");
        assert!(can_interrupt(&lapic(&[(LVT_TIMER, 0xe0), (CURRENT_COUNT, 1 << 31)]), 0));
        assert!(!can_interrupt(&lapic(&[(LVT_TIMER, 0xe0), (INITIAL_COUNT, 5)]), 0), "counted down");
        assert!(can_interrupt(&lapic(&[(LVT_TIMER, PERIODIC << 17), (INITIAL_COUNT, 5)]), 0));
    }

    #[test]
    fn a_pending_interrupt_can_interrupt() {
        assert!(!can_interrupt(&lapic(&[(LVT_TIMER, LVT_MASKED)]), 0));
        for offset in INTERRUPT_REQUEST {
            assert!(can_interrupt(&lapic(&[(LVT_TIMER, LVT_MASKED), (offset, 1 << 31)]), 0));
        }
    }
}
