//! Powering off by the registers of ACPI (ACPI specification 4.8.3.2 and 4.8.3.7).

use x86::io::{outb, outw};

/// A register in I/O space, and what to write into its field SLP_TYP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SleepRegister {
    /// Its port.
    pub(crate) port: u16,
    /// The sleep type, of three bits, for soft off.
    pub(crate) sleep_type: u8,
}

impl SleepRegister {
    /// Sleep control register: SLP_TYP in bits 4 to 2, SLP_EN in bit 5.
    const fn sleep_control(self) -> u8 {
        (self.sleep_type & 7) << 2 | 1 << 5
    }

    /// PM1 control register: SLP_TYP in bits 12 to 10, SLP_EN in bit 13.
    const fn pm1_control(self) -> u16 {
        (self.sleep_type as u16 & 7) << 10 | 1 << 13
    }
}

/// How a machine is powered off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PowerOff {
    /// By the sleep control register of hardware-reduced machines.
    SleepControl(SleepRegister),
    /// By the PM1a control register, and PM1b's if there is one.
    Pm1Control(SleepRegister, Option<SleepRegister>),
}

impl PowerOff {
    /// Powers off. Comes back if that is not how this machine is.
    ///
    /// # Safety
    /// Either the registers are those of this machine, or writing to their ports does no harm.
    pub(crate) unsafe fn enter(self) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::SleepControl(register) => outb(register.port, register.sleep_control()),
                Self::Pm1Control(a, b) => {
                    outw(a.port, a.pm1_control());
                    if let Some(b) = b {
                        outw(b.port, b.pm1_control());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_that_vmms_wait_for() {
        let cloud_hypervisor = SleepRegister { port: 0x600, sleep_type: 5 };
        assert_eq!(cloud_hypervisor.sleep_control(), 0x34);
        let qemu = SleepRegister { port: 0x604, sleep_type: 0 };
        assert_eq!(qemu.pm1_control(), 0x2000);
        assert_eq!(SleepRegister { port: 0x604, sleep_type: 7 }.pm1_control(), 0x3c00);
    }
}
