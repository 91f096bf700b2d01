//! The parts of an ELF file that tests read and spoil: the file header and the program headers (ELF-64 object file
//! format, version 1.5).

use std::ops::Range;

/// Length of the file header in bytes.
pub const HEADER_LEN: usize = 64;
/// Length of a program header in bytes.
pub const PROGRAM_HEADER_LEN: usize = 56;

/// Offset of the entry point in the file header.
pub const ENTRY: usize = 24;
/// Offset of the program headers' offset in the file header.
pub const PROGRAM_HEADERS_OFFSET: usize = 32;

/// A field of a program header, by its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `p_type`, 4 bytes; written as 8, it takes `p_flags` along.
    Type = 0,
    /// `p_offset`.
    Offset = 8,
    /// `p_vaddr`.
    VirtualAddress = 16,
    /// `p_paddr`.
    PhysicalAddress = 24,
    /// `p_filesz`.
    FileLen = 32,
    /// `p_memsz`.
    MemoryLen = 40,
}

/// `PT_LOAD`.
pub const LOAD: u32 = 1;
/// `PT_NOTE`.
pub const NOTE: u32 = 4;

/// The range of the file that its headers take.
#[must_use]
pub fn headers(file: &[u8]) -> Range<usize> {
    0..HEADER_LEN + program_headers(file).len() * PROGRAM_HEADER_LEN
}

/// Offsets of the program headers, if they lie where every packed image has them: right behind the file header.
#[must_use]
pub fn program_headers(file: &[u8]) -> Vec<usize> {
    let count = file.get(56..58).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    let offsets = (0..usize::from(count)).map(|index| HEADER_LEN + index * PROGRAM_HEADER_LEN);
    offsets.filter(|offset| offset + PROGRAM_HEADER_LEN <= file.len()).collect()
}

/// Offsets of the program headers of one type.
#[must_use]
pub fn program_headers_of(file: &[u8], kind: u32) -> Vec<usize> {
    let mut headers = program_headers(file);
    headers.retain(|header| file[*header..].starts_with(&kind.to_le_bytes()));
    headers
}

/// The 8 bytes at `offset`.
///
/// # Panics
/// If the file is shorter.
#[must_use]
pub fn read(file: &[u8], offset: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&file[offset..offset + 8]);
    u64::from_le_bytes(bytes)
}

/// Replaces the 8 bytes at `offset`.
///
/// # Panics
/// If the file is shorter.
pub fn write(file: &mut [u8], offset: usize, value: u64) {
    file[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::empty_guest;

    #[test]
    fn headers_are_found_by_type() {
        let mut file = empty_guest::image();
        assert_eq!(program_headers(&file), [64, 120]);
        assert_eq!(program_headers_of(&file, LOAD), [64]);
        assert_eq!(program_headers_of(&file, NOTE), [120]);
        assert_eq!(headers(&file), 0..176);
        write(&mut file, 64 + Field::MemoryLen as usize, 77);
        assert_eq!(read(&file, 64 + Field::MemoryLen as usize), 77);
        assert!(program_headers(&[0; 10]).is_empty());
    }
}
