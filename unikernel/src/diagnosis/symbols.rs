//! Names for code addresses, from the symbol table in the image.

use crate::memory::image;
use core::fmt;

/// Displays a code address with the function that holds it, `0x… name+0x…`, or the bare address where no name is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeAddress(pub u64);

impl CodeAddress {
    /// The function that holds the address, and the offset into it.
    #[must_use]
    pub fn function(self) -> Option<(&'static str, u64)> {
        let (symbol, offset) = image::symbols()?.find(self.0)?;
        Some((symbol.name, offset))
    }
}

impl fmt::Display for CodeAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.function() {
            Some((name, offset)) => write!(formatter, "{:#x} {name}+{offset:#x}", self.0),
            None => write!(formatter, "{:#x}", self.0),
        }
    }
}
