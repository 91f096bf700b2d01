//! The sleep control and sleep status registers of hardware-reduced ACPI (ACPI specification 4.8.3.7), one byte for both:
//! sleep type and enable are bits of control, wake status is the one bit of status, and none of them is the other's.
//!
//! ```text
//! 7            6 5             4 3 2                1 0
//! wake status  - sleep enable  sleep type SLP_TYPx  - -
//! ```
//!
//! The only sleep there is has no waking: the register reads as zero, and clearing its wake status does nothing.

/// Sleep type that powers the machine off: the value of `\_S5_` in the DSDT.
pub(crate) const TYPE_OFF: u8 = 5;

/// What a read finds: enable is write-only, and the machine was never woken.
pub(crate) const IDLE: u8 = 0;

const TYPE_SHIFT: u8 = 2;
const TYPE_MASK: u8 = 0b111;
const ENABLE: u8 = 1 << 5;

/// Whether what the guest wrote powers the machine off. The register takes single bytes; it ignores other widths, other
/// types of sleep, and types that are set without enabling them.
pub(crate) fn powers_off(data: &[u8]) -> bool {
    matches!(data, [byte] if byte & ENABLE != 0 && (byte >> TYPE_SHIFT) & TYPE_MASK == TYPE_OFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_enable_with_the_type_of_soft_off_powers_off() {
        // Bits that are reserved, ignored or of the status register are free: of 256 bytes, 16.
        let bytes: Vec<u8> = (0..=u8::MAX).filter(|&byte| powers_off(&[byte])).collect();
        assert_eq!(bytes.len(), 16);
        assert!(bytes.iter().all(|byte| byte & 0b0011_1100 == 0b0011_0100), "{bytes:x?}");
    }

    #[test]
    fn only_a_single_byte_powers_off() {
        for data in [&[][..], &[0x34, 0], &[0x34, 0x34], &[0x34, 0, 0, 0]] {
            assert!(!powers_off(data), "{data:x?}");
        }
    }
}
