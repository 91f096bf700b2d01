//! How amounts of memory are written in messages.

use std::fmt;

/// Displays a number of bytes in the largest binary unit that loses nothing, or in whole MiB where the number is large.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let exact = UNITS.iter().find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        match exact {
            Some((unit, name)) if self.0 < 1 << 30 || *unit >= 1 << 20 => {
                write!(formatter, "{} {name}", self.0 / unit)
            }
            _ if self.0 >= 1 << 30 => write!(formatter, "{} MiB", self.0 >> 20),
            _ => write!(formatter, "{} bytes", self.0),
        }
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
