//! What QEMU's end says of the guest.

use crate::error::Error;
use guest_interface::status::{ExitStatus, VmmStatus, from_qemu};

/// How a QEMU process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QemuEnd {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// Decodes how QEMU ended, and the last status that the guest told the debug console, into how the guest did.
///
/// QEMU's status carries 7 bits of the guest's. The one that was told has all 8, and tells a guest's 0 from QEMU's own
/// failure, both of which end QEMU with 1. The guest may have told anything, so what it told counts only where it agrees
/// with QEMU's status.
///
/// # Errors
/// [`Error::QemuFailed`], [`Error::QemuKilled`] when the end was not the guest's.
pub(crate) fn decode(end: QemuEnd, told: Option<u8>) -> Result<ExitStatus, Error> {
    let code = match end {
        QemuEnd::Killed(signal) => return Err(Error::QemuKilled(signal)),
        QemuEnd::Exited(code) => code,
    };
    // With -no-reboot, a guest that resets ends QEMU with 0, and so does one that powers off.
    if code == 0 {
        return Ok(ExitStatus::Vmm(VmmStatus::TripleFault));
    }
    let low_bits = u8::try_from(code).ok().and_then(from_qemu).ok_or(Error::QemuFailed(code))?;
    match told.filter(|told| told & 0x7f == low_bits) {
        Some(told) => Ok(ExitStatus::from_guest(told.into())),
        None if low_bits == 0 => Err(Error::QemuFailed(code)),
        None => Ok(ExitStatus::from_guest(low_bits.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::status::GUEST_MAX;

    fn code(process_status: i32, told: Option<u8>) -> u8 {
        match decode(QemuEnd::Exited(process_status), told) {
            Ok(status) => status.code(),
            Err(error) => error.status().code(),
        }
    }

    #[test]
    fn every_status_of_a_guest_comes_through() {
        for status in 0..=GUEST_MAX {
            let expected = ExitStatus::from_guest(status.into());
            assert_eq!(decode(QemuEnd::Exited(i32::from(status) << 1 | 1), Some(status)).unwrap(), expected);
        }
    }

    #[test]
    fn a_status_above_7_bits_is_not_taken_for_another() {
        for written in [112, 127, 128, 200, 255_u8] {
            let process_status = (i32::from(written) << 1 | 1) & 0xff;
            assert_eq!(
                code(process_status, Some(written)),
                VmmStatus::InvalidGuestStatus.code(),
                "{written}"
            );
        }
    }

    #[test]
    fn a_failure_of_qemu_is_not_success() {
        assert_eq!(code(1, None), VmmStatus::HostUnable.code());
        assert_eq!(code(1, Some(5)), VmmStatus::HostUnable.code(), "another status was told");
        assert_eq!(code(2, Some(0)), VmmStatus::HostUnable.code());
        assert!(matches!(decode(QemuEnd::Killed(11), Some(0)), Err(Error::QemuKilled(11))));
    }

    #[test]
    fn a_reset_is_a_triple_fault() {
        assert_eq!(code(0, None), VmmStatus::TripleFault.code());
        assert_eq!(code(0, Some(0)), VmmStatus::TripleFault.code(), "what it told is not how it ended");
    }

    #[test]
    fn a_status_that_was_not_told_counts_unless_it_is_0() {
        assert_eq!(code(7, None), 3);
        assert_eq!(code(7, Some(0x55)), 3, "a guest that tells statuses for fun");
    }
}
