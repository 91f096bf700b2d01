//! The values that power the machine off: object `\_S5_` (soft off) of the DSDT.
//!
//! ACPI specification 7.4.2: `\_Sx` is a package whose first element is what to write into the field SLP_TYP of the PM1a
//! control register, or of the sleep control register on hardware-reduced machines, and whose second one is that for
//! PM1b. Firmware writes it as a constant, so that it can be found by its encoding, without an interpreter. ACPI
//! specification 20.2:
//!
//! | | |
//! |---|---|
//! | definition | `08` (NameOp), name, object |
//! | name | root character `\` or not, `_S5_` |
//! | object | `12` (PackageOp), PkgLength, number of elements, elements |
//! | PkgLength | bits 7 and 6 of the first byte: how many more there are. None: the length is in bits 5 to 0. Else its low four bits are in bits 3 to 0, and each further byte has the next eight. Counts from the PkgLength on |
//! | element | `00` (zero), `01` (one), `0a` and a byte, `0b` and two bytes, `0c` and four bytes |

const NAME_OP: u8 = 0x08;
const PACKAGE_OP: u8 = 0x12;
const ZERO_OP: u8 = 0x00;
const ONE_OP: u8 = 0x01;
const BYTE_PREFIX: u8 = 0x0a;
const WORD_PREFIX: u8 = 0x0b;
const DOUBLE_WORD_PREFIX: u8 = 0x0c;

/// SLP_TYP has three bits.
const SLEEP_TYPE_MAX: u8 = 7;

/// What to write into SLP_TYP of the two registers, each at most 7.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SleepTypes {
    /// For PM1a, or the sleep control register.
    pub(super) a: u8,
    /// For PM1b.
    pub(super) b: u8,
}

/// The sleep types for soft off that the AML of a DSDT names, if it does in the way above.
pub(super) fn soft_off(aml: &[u8]) -> Option<SleepTypes> {
    let names = aml.iter().enumerate().filter(|(_, byte)| **byte == NAME_OP);
    names.map(|(index, _)| &aml[index + 1..]).find_map(definition)
}

/// The sleep types in the rest of a definition, from the name on.
fn definition(aml: &[u8]) -> Option<SleepTypes> {
    let aml = aml.strip_prefix(b"\\").unwrap_or(aml);
    let aml = aml.strip_prefix(b"_S5_")?.strip_prefix(&[PACKAGE_OP])?;
    let (&count, elements) = package(aml)?.split_first()?;
    let (first, others) = match count {
        0 => return None,
        _ => integer(elements)?,
    };
    let (a, b) = match count {
        // Both in one number, the way of ACPI 1.0.
        1 => (first & 0xff, first >> 8 & 0xff),
        _ => (first, integer(others)?.0),
    };
    let sleep_type = |value| u8::try_from(value).ok().filter(|value| *value <= SLEEP_TYPE_MAX);
    Some(SleepTypes { a: sleep_type(a)?, b: sleep_type(b)? })
}

/// What is in a package, from its PkgLength on.
fn package(aml: &[u8]) -> Option<&[u8]> {
    let lead = usize::from(*aml.first()?);
    let further = aml.get(1..1 + (lead >> 6))?;
    let len = match further {
        [] => lead & 0x3f,
        _ => further.iter().rev().fold(0, |len, byte| len << 8 | usize::from(*byte)) << 4 | lead & 0xf,
    };
    aml.get(1 + further.len()..len)
}

/// A constant at the beginning of `aml`, and what follows.
fn integer(aml: &[u8]) -> Option<(u32, &[u8])> {
    let (&prefix, aml) = aml.split_first()?;
    let len = match prefix {
        ZERO_OP | ONE_OP => return Some((prefix.into(), aml)),
        BYTE_PREFIX => 1,
        WORD_PREFIX => 2,
        DOUBLE_WORD_PREFIX => 4,
        _ => return None,
    };
    let (bytes, aml) = aml.split_at_checked(len)?;
    Some((bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)), aml))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const LEGACY: SleepTypes = SleepTypes { a: 5, b: 6 };

    fn named(package: &[u8]) -> Vec<u8> {
        [b"\x08_S5_", package].concat()
    }

    #[test]
    fn the_encodings_of_vmms_are_read() {
        // QEMU: Package (4) { 0, 0, 0, 0 }; Cloud Hypervisor and `vmm-stub`: Package (1) { 5 }.
        let qemu = named(&[0x12, 6, 4, 0, 0, 0, 0]);
        assert_eq!(soft_off(&qemu), Some(SleepTypes { a: 0, b: 0 }));
        let cloud_hypervisor = named(&[0x12, 4, 1, 0x0a, 5]);
        assert_eq!(soft_off(&cloud_hypervisor), Some(SleepTypes { a: 5, b: 0 }));
    }

    #[test]
    fn each_way_to_write_a_number_is_read() {
        for (package, expected) in [
            (&[0x12, 4, 2, 1, 0][..], SleepTypes { a: 1, b: 0 }),
            (&[0x12, 6, 2, 0x0a, 5, 0x0a, 6], LEGACY),
            (&[0x12, 8, 2, 0x0b, 5, 0, 0x0b, 6, 0], LEGACY),
            (&[0x12, 12, 2, 0x0c, 5, 0, 0, 0, 0x0c, 6, 0, 0, 0], LEGACY),
            (&[0x12, 5, 1, 0x0b, 5, 6], LEGACY),
            // The same length in two, three and four bytes.
            (&[0x12, 0x47, 0, 2, 0x0a, 5, 0x0a, 6], LEGACY),
            (&[0x12, 0x88, 0, 0, 2, 0x0a, 5, 0x0a, 6], LEGACY),
            (&[0x12, 0xc9, 0, 0, 0, 2, 0x0a, 5, 0x0a, 6], LEGACY),
        ] {
            assert_eq!(soft_off(&named(package)), Some(expected), "{package:x?}");
        }
        let mut long = named(&[0x12, 0x47, 0x01, 2, 0x0a, 5, 0x0a, 6]);
        assert_eq!(soft_off(&long), None, "the package has 0x17 bytes, not all are there");
        long.extend([0; 16]);
        assert_eq!(soft_off(&long), Some(LEGACY));
    }

    #[test]
    fn the_name_is_found_among_others() {
        let object = [0x12, 4, 1, 0x0a, 5];
        let aml = [b"\x08_S4_", &object[..], b"_S5_\x12\x08_S5", b"\x08\x08\\_S5_", &object, &[8]].concat();
        assert_eq!(soft_off(&aml), Some(SleepTypes { a: 5, b: 0 }));
        assert_eq!(soft_off(&[b"\x08_S3_", &object[..]].concat()), None);
        assert_eq!(soft_off(&[b"_S5_", &object[..]].concat()), None);
    }

    #[test]
    fn what_is_not_a_package_of_sleep_types_is_not_taken() {
        for package in [
            &[][..],
            &[0x12],
            &[0x11, 4, 1, 0x0a, 5],
            &[0x12, 4, 0, 0x0a, 5],
            &[0x12, 4, 1, 0x0a, 8],
            &[0x12, 3, 1, 0x0a, 5],
            &[0x12, 5, 1, 0x0a, 5],
            &[0x12, 0, 1, 0x0a, 5],
            &[0x12, 6, 2, 0x0a, 5, 0x0a, 8],
            &[0x12, 4, 2, 0x0a, 5],
            &[0x12, 3, 1, 0xff],
            &[0x12, 5, 1, 0x0b, 5, 8],
            &[0x12, 0x41],
            &[0x12, 0xff, 0xff, 0xff],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 1, 0],
        ] {
            assert_eq!(soft_off(&named(package)), None, "{package:x?}");
        }
    }
}
