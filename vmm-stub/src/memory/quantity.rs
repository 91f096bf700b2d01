//! How amounts of memory are written in messages.

use std::fmt;

/// Displays a number of bytes in the largest binary unit that loses nothing; from 1 GiB on, at least in whole MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        let (unit, name) = match self.0 {
            len if len >= GIB && len.is_multiple_of(GIB) => (GIB, "GiB"),
            len if len >= GIB || (len >= MIB && len.is_multiple_of(MIB)) => (MIB, "MiB"),
            len if len >= KIB && len.is_multiple_of(KIB) => (KIB, "KiB"),
            _ => (1, "bytes"),
        };
        write!(formatter, "{} {name}", self.0 / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_unless_large() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1000, "1000 bytes"),
            (4096, "4 KiB"),
            (8 << 20, "8 MiB"),
            ((8 << 20) + 4096, "8196 KiB"),
            (3 << 30, "3 GiB"),
            ((3 << 30) + (1 << 20), "3073 MiB"),
            ((3 << 30) + 4097, "3072 MiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
