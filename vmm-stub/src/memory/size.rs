//! The amount of RAM of a machine, as a type that holds only amounts a machine can have.

use crate::memory::quantity::Bytes;
use guest_interface::layout::{MEMORY_LEN_MAX, MEMORY_LEN_MIN, PAGE_LEN};
use std::str::FromStr;

/// RAM of a machine in bytes: a whole number of pages between [`MEMORY_LEN_MIN`] and [`MEMORY_LEN_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLen(u64);

/// An amount of RAM that no machine can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryLenError {
    /// The text is no amount.
    #[error("not a size; write a number with K, M, G or T behind it, such as 512M")]
    NotASize,
    /// Beyond what 64 bits or [`MEMORY_LEN_MAX`] hold.
    #[error("too much; the most is {}", Bytes(MEMORY_LEN_MAX))]
    TooMuch,
    /// Below [`MEMORY_LEN_MIN`].
    #[error("only {}, too little; the least is {}", Bytes(*.0), Bytes(MEMORY_LEN_MIN))]
    TooLittle(u64),
    /// Not a multiple of [`PAGE_LEN`].
    #[error("not a whole number of {PAGE_LEN}-byte pages; the next lower is {}", .0 - .0 % PAGE_LEN)]
    NotPageSized(u64),
}

impl MemoryLen {
    /// Checks an amount.
    ///
    /// # Errors
    /// [`MemoryLenError`] for an amount out of bounds or not page-sized.
    pub const fn new(len_bytes: u64) -> Result<Self, MemoryLenError> {
        if len_bytes < MEMORY_LEN_MIN {
            Err(MemoryLenError::TooLittle(len_bytes))
        } else if len_bytes > MEMORY_LEN_MAX {
            Err(MemoryLenError::TooMuch)
        } else if !len_bytes.is_multiple_of(PAGE_LEN) {
            Err(MemoryLenError::NotPageSized(len_bytes))
        } else {
            Ok(Self(len_bytes))
        }
    }

    /// The amount in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for MemoryLen {
    type Err = MemoryLenError;

    /// Reads `512M`: a decimal number with one of the binary units K, M, G, T, or bytes without a unit.
    fn from_str(text: &str) -> Result<Self, MemoryLenError> {
        let digits_len = text.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, unit) = text.split_at(digits_len);
        let shift = match unit {
            "" => 0,
            "K" | "k" => 10,
            "M" | "m" => 20,
            "G" | "g" => 30,
            "T" | "t" => 40,
            _ => return Err(MemoryLenError::NotASize),
        };
        if digits.is_empty() {
            return Err(MemoryLenError::NotASize);
        }
        // Only digits are left, so parsing can fail by size alone.
        let count: u64 = digits.parse().map_err(|_| MemoryLenError::TooMuch)?;
        Self::new(count.checked_mul(1 << shift).ok_or(MemoryLenError::TooMuch)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in
            [("512M", 512 << 20), ("512m", 512 << 20), ("1G", 1 << 30), ("16777216", 16 << 20)]
        {
            assert_eq!(text.parse(), Ok(MemoryLen(bytes)), "{text}");
        }
        assert_eq!("8192K".parse(), Ok(MemoryLen(MEMORY_LEN_MIN)), "the least is allowed");
        assert_eq!("511G".parse(), Ok(MemoryLen(MEMORY_LEN_MAX)), "and so is the most");
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "M", "lots", "-1M", "+5M", "1.5G", "512MB", "0x10M", "512 M", "５１２M"] {
            assert_eq!(text.parse::<MemoryLen>(), Err(MemoryLenError::NotASize), "{text}");
        }
    }

    #[test]
    fn sizes_no_machine_can_have_are_refused() {
        assert_eq!("0".parse::<MemoryLen>(), Err(MemoryLenError::TooLittle(0)));
        assert_eq!("512".parse::<MemoryLen>(), Err(MemoryLenError::TooLittle(512)));
        assert_eq!("8191K".parse::<MemoryLen>(), Err(MemoryLenError::TooLittle(MEMORY_LEN_MIN - 1024)));
        assert_eq!("16777217".parse::<MemoryLen>(), Err(MemoryLenError::NotPageSized(16_777_217)));
        for text in ["512G", "16777216T", "99999999999999999999999", "18446744073709551615T"] {
            assert_eq!(text.parse::<MemoryLen>(), Err(MemoryLenError::TooMuch), "{text}");
        }
    }

    #[test]
    fn a_refusal_names_what_would_do() {
        assert_eq!(
            MemoryLenError::NotPageSized(16_777_217).to_string(),
            "not a whole number of 4096-byte pages; the next lower is 16777216"
        );
        assert_eq!(MemoryLenError::TooLittle(0).to_string(), "only 0 bytes, too little; the least is 8 MiB");
    }
}
