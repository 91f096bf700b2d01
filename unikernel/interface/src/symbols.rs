//! The symbol table inside a packed image, with which the kernel names code addresses on every host, and the VMM names
//! where a guest was when it ended.
//!
//! The packing tool appends the table as one read-only `PT_LOAD` segment, marks the same range with a program header of
//! type [`PROGRAM_HEADER_TYPE`], and writes the range into the image's [locator](Locator). An image that was not packed
//! has an empty locator, and its addresses stay numbers.
//!
//! Table, all little-endian: [`MAGIC`] (4 bytes), the number of symbols (4), then for each symbol in ascending order of
//! address its offset from [`IMAGE_BASE`], its length in bytes, and the offset and length of its name in the name area
//! (4 bytes each); then the name area, UTF-8.

use crate::layout::IMAGE_BASE;
use alloc::vec::Vec;

/// Type of the ELF program header that marks the table, in the range ELF leaves to operating systems.
pub const PROGRAM_HEADER_TYPE: u32 = 0x6672_6565;

/// Name of the ELF section that holds the [`Locator`].
pub const LOCATOR_SECTION: &str = ".symbol_locator";

/// First four bytes of a table.
pub const MAGIC: u32 = u32::from_le_bytes(*b"FSYM");

const HEADER_LEN: usize = 8;
const ENTRY_LEN: usize = 16;

/// Where in the image the table is; in the image itself, two 8-byte words that the packing tool fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Locator {
    /// Address of the table's first byte; 0 in an image that was not packed.
    pub address: u64,
    /// Length of the table in bytes.
    pub len_bytes: u64,
}

impl Locator {
    /// The locator of an image that was not packed.
    pub const EMPTY: Self = Self { address: 0, len_bytes: 0 };

    /// Length of an encoded locator, in bytes.
    pub const LEN: usize = 16;

    /// The locator as it lies in the image.
    #[must_use]
    pub const fn encode(self) -> [u8; Self::LEN] {
        ((self.address as u128) | ((self.len_bytes as u128) << 64)).to_le_bytes()
    }
}

/// A function of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Demangled name.
    pub name: &'a str,
    /// Address of the first byte.
    pub address: u64,
    /// Length in bytes.
    pub len_bytes: u64,
}

/// A symbol that can't be put into a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolOutOfRange {
    /// Its address, which is below [`IMAGE_BASE`] or more than 4 GiB above it, or whose table would exceed 4 GiB.
    pub address: u64,
}

/// Builds a table from symbols in any order.
///
/// # Errors
/// [`SymbolOutOfRange`] for an address that has no 32-bit offset from [`IMAGE_BASE`].
pub fn encode(symbols: &[Symbol<'_>]) -> Result<Vec<u8>, SymbolOutOfRange> {
    let mut sorted: Vec<&Symbol<'_>> = symbols.iter().collect();
    sorted.sort_by_key(|symbol| symbol.address);
    sorted.dedup_by_key(|symbol| symbol.address);
    let mut table: Vec<u8> = Vec::new();
    let mut names: Vec<u8> = Vec::new();
    table.extend(MAGIC.to_le_bytes());
    table.extend((sorted.len() as u32).to_le_bytes());
    for symbol in sorted {
        let error = SymbolOutOfRange { address: symbol.address };
        let offset = symbol.address.checked_sub(IMAGE_BASE).ok_or(error)?;
        for field in [offset, symbol.len_bytes, names.len() as u64, symbol.name.len() as u64] {
            table.extend(u32::try_from(field).map_err(|_| error)?.to_le_bytes());
        }
        names.extend(symbol.name.as_bytes());
    }
    table.extend(names);
    Ok(table)
}

/// A table read in place. Reading never trusts it: a table that is cut short or makes no sense finds nothing.
#[derive(Clone, Copy, Debug)]
pub struct SymbolTable<'a> {
    entries: &'a [u8],
    names: &'a [u8],
}

impl<'a> SymbolTable<'a> {
    /// The table in `bytes`, or `None` if they are not one.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        if field(bytes, 0)? != MAGIC {
            return None;
        }
        let entries_len = usize::try_from(field(bytes, 4)?).ok()?.checked_mul(ENTRY_LEN)?;
        let (entries, names) = bytes.get(HEADER_LEN..)?.split_at_checked(entries_len)?;
        Some(Self { entries, names })
    }

    /// The function that holds `address`, with the offset of `address` into it.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<(Symbol<'a>, u64)> {
        let wanted = u32::try_from(address.checked_sub(IMAGE_BASE)?).ok()?;
        let (mut low, mut high) = (0, self.entries.len() / ENTRY_LEN);
        while low < high {
            let middle = low + (high - low) / 2;
            if field(self.entries, middle * ENTRY_LEN)? <= wanted { low = middle + 1 } else { high = middle }
        }
        let entry = self.entries.get(low.checked_sub(1)? * ENTRY_LEN..)?;
        let offset = wanted - field(entry, 0)?;
        let len = field(entry, 4)?;
        if offset >= len {
            return None;
        }
        let name_start = field(entry, 8)? as usize;
        let name = self.names.get(name_start..name_start.checked_add(field(entry, 12)? as usize)?)?;
        let name = core::str::from_utf8(name).ok()?;
        Some((Symbol { name, address: address - u64::from(offset), len_bytes: len.into() }, offset.into()))
    }
}

/// The little-endian 32-bit field at `offset`.
fn field(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols() -> [Symbol<'static>; 3] {
        [
            Symbol { name: "kernel::late", address: IMAGE_BASE + 0x300, len_bytes: 0x10 },
            Symbol { name: "kernel::first", address: IMAGE_BASE, len_bytes: 0x100 },
            Symbol { name: "kernel::second", address: IMAGE_BASE + 0x100, len_bytes: 0x80 },
        ]
    }

    #[test]
    fn an_address_is_found_in_the_function_that_holds_it() {
        let bytes = encode(&symbols()).unwrap();
        let table = SymbolTable::new(&bytes).unwrap();
        let found = |offset| table.find(IMAGE_BASE + offset).map(|(symbol, into)| (symbol.name, into));
        assert_eq!(found(0), Some(("kernel::first", 0)));
        assert_eq!(found(0xff), Some(("kernel::first", 0xff)));
        assert_eq!(found(0x100), Some(("kernel::second", 0)));
        assert_eq!(found(0x180), None, "between functions");
        assert_eq!(found(0x30f), Some(("kernel::late", 0xf)));
        assert_eq!(found(0x310), None, "behind the last function");
        assert_eq!(table.find(IMAGE_BASE - 1), None);
        assert_eq!(table.find(u64::MAX), None);
    }

    #[test]
    fn a_table_cut_anywhere_finds_the_right_name_or_none_and_a_changed_one_does_not_panic() {
        let whole = encode(&symbols()).unwrap();
        for len in 0..whole.len() {
            let found = SymbolTable::new(&whole[..len]).and_then(|table| table.find(IMAGE_BASE + 0x305));
            assert!(
                found.is_none_or(|(symbol, offset)| (symbol.name, offset) == ("kernel::late", 5)),
                "{found:?}"
            );
        }
        for index in 0..whole.len() {
            let mut changed = whole.clone();
            changed[index] ^= 0xff;
            let _ = SymbolTable::new(&changed).map(|table| table.find(IMAGE_BASE + 0x305));
        }
        assert!(SymbolTable::new(&[]).is_none());
    }

    #[test]
    fn a_symbol_below_the_image_is_refused() {
        let low = Symbol { name: "low", address: IMAGE_BASE - 1, len_bytes: 1 };
        assert_eq!(encode(&[low]), Err(SymbolOutOfRange { address: IMAGE_BASE - 1 }));
    }
}
