//! Exit statuses: how a machine ended, as one number from the guest's exit port to the shell.
//!
//! | statuses | whose |
//! |---|---|
//! | 0 to 95 | the application's own |
//! | 96 to 111 | the kernel's: [`KernelStatus`] |
//! | 112 to 123 | the VMM's: [`VmmStatus`] |
//!
//! All fit in 7 bits, since QEMU's `isa-debug-exit` carries no more, and stay clear of the shell's own 124 to 127. A
//! machine that crashed never ends with 0.

use core::fmt;

/// Highest status an application may end with.
pub const APPLICATION_MAX: u8 = 95;

/// Highest status the kernel may end with; with [`APPLICATION_MAX`], all that a guest may write to the exit port.
pub const GUEST_MAX: u8 = 111;

/// How an application ended: a number from 0 (success) to [`APPLICATION_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplicationStatus(u8);

impl ApplicationStatus {
    /// All went well.
    pub const SUCCESS: Self = Self(0);
    /// The application's work failed.
    pub const FAILURE: Self = Self(1);
    /// The application was asked for something it does not know.
    pub const USAGE: Self = Self(2);

    /// The status `code`, or `None` above [`APPLICATION_MAX`].
    #[must_use]
    pub const fn new(code: u8) -> Option<Self> {
        if code <= APPLICATION_MAX { Some(Self(code)) } else { None }
    }

    /// The number that is written to the exit port.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }
}

/// Declares an enumeration of statuses with the sentence that explains each.
macro_rules! statuses {
    ($(#[$attribute:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $meaning:literal;)+ }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $doc])+ $variant = $code),+ }

        impl $name {
            /// Every status of this kind.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The number that ends the machine.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The status with this number, if there is one.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(match self { $(Self::$variant => $meaning),+ })
            }
        }
    };
}

statuses! {
    /// Ways in which the kernel ends a machine.
    KernelStatus {
        /// A Rust panic in kernel or application.
        Panic = 96, "the guest panicked";
        /// An exception that nothing handles.
        UnhandledFault = 97, "the guest took a fault that nothing handles";
        /// A stack ran into its guard page.
        StackOverflow = 98, "a stack of the guest overflowed";
        /// An allocation could not be satisfied and its caller can't go on.
        OutOfMemory = 99, "the guest ran out of memory";
        /// The kernel could not boot from what it was given.
        BootFailure = 100, "the guest kernel could not boot";
        /// A verification found memory that did not hold what was written to it.
        VerificationFailure = 101, "the guest found wrong words in its memory";
        /// An audit found page tables or frames that are not as they must be.
        AuditFailure = 102, "the guest's audit of its page tables failed";
    }
}

statuses! {
    /// Ways in which the VMM ends a machine, or refuses to start one.
    VmmStatus {
        /// The guest faulted while delivering a fault.
        TripleFault = 112, "the guest triple-faulted";
        /// The time limit passed.
        Timeout = 113, "the time limit passed";
        /// SIGINT or SIGTERM.
        Interrupted = 114, "interrupted by a signal";
        /// The VMM itself failed while the guest ran.
        VmmError = 115, "the VMM failed";
        /// Arguments or image are not usable; nothing was started.
        Refused = 116, "arguments or image refused before the start";
        /// The host lacks something: KVM, a permission, QEMU, memory.
        HostUnable = 117, "the host can't run this guest";
        /// The guest halted with nothing that could wake it, or powered its machine off, and gave no status.
        Halted = 118, "the guest halted or powered off without a status";
        /// KVM could not run the guest's code.
        GuestUnrunnable = 119, "KVM could not run the guest";
        /// The guest wrote a number above 111 to the exit port.
        InvalidGuestStatus = 120, "the guest gave a status that is not one of its own";
    }
}

/// Any exit status, told apart by whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// The application's.
    Application(ApplicationStatus),
    /// The kernel's.
    Kernel(KernelStatus),
    /// The VMM's.
    Vmm(VmmStatus),
}

impl ExitStatus {
    /// What a number that a guest wrote to the exit port means. The guest may write anything: what is not a status of
    /// application or kernel is [`VmmStatus::InvalidGuestStatus`].
    #[must_use]
    pub fn from_guest(written: u32) -> Self {
        let guest = u8::try_from(written).ok().and_then(|code| match ApplicationStatus::new(code) {
            Some(status) => Some(Self::Application(status)),
            None => KernelStatus::from_code(code).map(Self::Kernel),
        });
        guest.unwrap_or(Self::Vmm(VmmStatus::InvalidGuestStatus))
    }

    /// The number that a process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Application(status) => status.code(),
            Self::Kernel(status) => status.code(),
            Self::Vmm(status) => status.code(),
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application(status) => write!(formatter, "the application ended with {}", status.code()),
            Self::Kernel(status) => write!(formatter, "{status} (status {})", status.code()),
            Self::Vmm(status) => write!(formatter, "{status} (status {})", status.code()),
        }
    }
}

/// What QEMU's process status says of the guest: its `isa-debug-exit` ends QEMU with `(value << 1) | 1`. `None` for an
/// even status, with which QEMU ends when the guest did not use the device.
#[must_use]
pub fn from_qemu(process_status: u8) -> Option<u8> {
    (process_status & 1 == 1).then_some(process_status >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_ranges_are_disjoint_and_fit_qemu() {
        for status in KernelStatus::ALL {
            assert!((APPLICATION_MAX + 1..=GUEST_MAX).contains(&status.code()), "{status:?}");
            assert_eq!(KernelStatus::from_code(status.code()), Some(*status));
        }
        for status in VmmStatus::ALL {
            assert!((GUEST_MAX + 1..=123).contains(&status.code()), "{status:?}");
            assert_eq!(VmmStatus::from_code(status.code()), Some(*status));
        }
    }

    #[test]
    fn a_guest_can_claim_no_status_of_the_vmm() {
        for written in (0..=u32::from(u8::MAX)).chain([256, 0x100 + 96, u32::MAX]) {
            let status = ExitStatus::from_guest(written);
            let claimed = written <= u32::from(GUEST_MAX);
            if u32::from(status.code()) != written {
                assert_eq!(status, ExitStatus::Vmm(VmmStatus::InvalidGuestStatus), "{written}");
            } else {
                assert!(claimed || written == u32::from(VmmStatus::InvalidGuestStatus.code()), "{written}");
            }
        }
    }

    #[test]
    fn qemu_statuses_decode_to_what_the_guest_wrote() {
        for written in 0..=GUEST_MAX {
            assert_eq!(from_qemu((written << 1) | 1), Some(written));
        }
        assert_eq!(from_qemu(0), None);
        assert_eq!(from_qemu(2), None);
    }
}
