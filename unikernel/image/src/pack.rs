//! Lays out and writes an image.
//!
//! Offsets in the file are congruent to addresses modulo a segment's alignment, as ELF demands, so that an image can be
//! mapped as well as read.

use crate::appliance::{Appliance, ENDIAN, Segment};
use crate::error::ImageError;
use guest_interface::layout::PAGE_LEN;
use guest_interface::symbols::{self, Locator, Symbol, SymbolOutOfRange};
use object::LittleEndian;
use object::elf::{FileHeader64, PF_R, PT_LOAD, ProgramHeader64};
use object::pod::bytes_of;
use object::read::elf::ProgramHeader;
use object::{U16, U32, U64};
use std::fmt;

const FILE_HEADER_LEN: usize = size_of::<FileHeader64<LittleEndian>>();
const PROGRAM_HEADER_LEN: usize = size_of::<ProgramHeader64<LittleEndian>>();

/// An image and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The image, an ELF file.
    pub image: Vec<u8>,
    /// What is in it.
    pub summary: Summary,
}

/// What is in an image. Displays as one phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Length of the file.
    pub image_len_bytes: usize,
    /// Length of the symbol table in it.
    pub symbol_table_len_bytes: usize,
    /// Number of functions that have a name.
    pub functions: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} bytes, of which {} name {} functions",
            self.image_len_bytes, self.symbol_table_len_bytes, self.functions
        )
    }
}

/// Packs a linked appliance.
///
/// # Errors
/// [`ImageError`] when `appliance` is not an executable built on the `unikernel` crate, or lacks its symbols.
pub fn pack(appliance: &[u8]) -> Result<Packed, ImageError> {
    let appliance = Appliance::read(appliance)?;
    let (locator_segment, locator_offset) = appliance.locator_place()?;
    let table = symbol_table(&appliance)?;
    let table_header = symbol_segment(&appliance, table.len())?;

    let mut segments = Vec::new();
    for (index, segment) in appliance.segments.iter().enumerate() {
        let mut bytes = segment.bytes.to_vec();
        if index == locator_segment {
            let locator = Locator { address: table_header.p_vaddr(ENDIAN), len_bytes: table.len() as u64 };
            bytes[locator_offset..locator_offset + Locator::LEN].copy_from_slice(&locator.encode());
        }
        segments.push((segment.header, bytes));
    }
    let last_load = appliance.segments.iter().rposition(Segment::is_load).map_or(0, |index| index + 1);
    let marker = ProgramHeader64 { p_type: U32::new(ENDIAN, symbols::PROGRAM_HEADER_TYPE), ..table_header };
    segments.push((marker, table.clone()));
    // PT_LOAD headers ascend by address, with nothing demanded of the others.
    segments.insert(last_load, (table_header, table.clone()));

    let image = write(appliance.header, segments)?;
    let summary = Summary {
        image_len_bytes: image.len(),
        symbol_table_len_bytes: table.len(),
        functions: appliance.functions.len(),
    };
    Ok(Packed { image, summary })
}

fn symbol_table(appliance: &Appliance<'_>) -> Result<Vec<u8>, ImageError> {
    let symbols: Vec<Symbol<'_>> = appliance
        .functions
        .iter()
        .map(|function| Symbol {
            name: &function.name,
            address: function.address,
            len_bytes: function.len_bytes,
        })
        .collect();
    symbols::encode(&symbols).map_err(|SymbolOutOfRange { address }| ImageError::SymbolOutOfRange { address })
}

/// The header of the symbol table's segment, in the first page behind the appliance. Its offset is not yet known.
fn symbol_segment(
    appliance: &Appliance<'_>,
    len: usize,
) -> Result<ProgramHeader64<LittleEndian>, ImageError> {
    let loads = appliance.segments.iter().filter(|segment| segment.is_load());
    let end = loads.map(|segment| segment.addresses().end).fold(0, u64::max);
    let no_room = ImageError::UnusableSegment { address: end, reason: "no addresses are left behind it" };
    let address = end.checked_next_multiple_of(PAGE_LEN).ok_or(no_room)?;
    Ok(ProgramHeader64 {
        p_type: U32::new(ENDIAN, PT_LOAD),
        p_flags: U32::new(ENDIAN, PF_R),
        p_offset: U64::new(ENDIAN, 0),
        p_vaddr: U64::new(ENDIAN, address),
        p_paddr: U64::new(ENDIAN, address),
        p_filesz: U64::new(ENDIAN, len as u64),
        p_memsz: U64::new(ENDIAN, len as u64),
        p_align: U64::new(ENDIAN, PAGE_LEN),
    })
}

/// Writes headers and segments. A segment that is not loaded itself lies within one that is, and shares its bytes.
fn write(
    header: &FileHeader64<LittleEndian>,
    mut segments: Vec<(ProgramHeader64<LittleEndian>, Vec<u8>)>,
) -> Result<Vec<u8>, ImageError> {
    let mut image = vec![0; FILE_HEADER_LEN + segments.len() * PROGRAM_HEADER_LEN];
    // Address, length and offset of the bytes that are in the file.
    let mut placed: Vec<(u64, u64, u64)> = Vec::new();
    for (header, bytes) in segments.iter_mut().filter(|(header, _)| header.p_type(ENDIAN) == PT_LOAD) {
        let align = header.p_align(ENDIAN).max(1);
        let offset = congruent_offset(image.len() as u64, header.p_vaddr(ENDIAN), align);
        if !bytes.is_empty() {
            image.resize(offset as usize, 0);
            image.extend_from_slice(bytes);
        }
        header.p_offset = U64::new(ENDIAN, offset);
        placed.push((header.p_vaddr(ENDIAN), bytes.len() as u64, offset));
    }
    for (header, bytes) in segments.iter_mut().filter(|(header, _)| header.p_type(ENDIAN) != PT_LOAD) {
        let (address, len) = (header.p_vaddr(ENDIAN), bytes.len() as u64);
        let within = |&(start, start_len, offset): &(u64, u64, u64)| {
            let into = address.checked_sub(start)?;
            (into.checked_add(len)? <= start_len).then_some(offset + into)
        };
        let offset = match (bytes.is_empty(), placed.iter().find_map(within)) {
            (true, _) => 0,
            (false, Some(offset)) => offset,
            (false, None) => {
                return Err(ImageError::UnusableSegment { address, reason: "its bytes are not loaded" });
            }
        };
        header.p_offset = U64::new(ENDIAN, offset);
    }

    let count = u16::try_from(segments.len()).ok().filter(|count| *count < object::elf::PN_XNUM);
    let too_many = ImageError::UnusableSegment { address: 0, reason: "there are too many program headers" };
    let file_header = FileHeader64 {
        e_phoff: U64::new(ENDIAN, FILE_HEADER_LEN as u64),
        e_ehsize: U16::new(ENDIAN, FILE_HEADER_LEN as u16),
        e_phentsize: U16::new(ENDIAN, PROGRAM_HEADER_LEN as u16),
        e_phnum: U16::new(ENDIAN, count.ok_or(too_many)?),
        e_shoff: U64::new(ENDIAN, 0),
        e_shentsize: U16::new(ENDIAN, 0),
        e_shnum: U16::new(ENDIAN, 0),
        e_shstrndx: U16::new(ENDIAN, 0),
        ..*header
    };
    image[..FILE_HEADER_LEN].copy_from_slice(bytes_of(&file_header));
    let table = image[FILE_HEADER_LEN..].chunks_exact_mut(PROGRAM_HEADER_LEN);
    for (place, (header, _)) in table.zip(&segments) {
        place.copy_from_slice(bytes_of(header));
    }
    Ok(image)
}

/// The first offset from `end` on that is congruent to `address` modulo `align`, a power of two.
fn congruent_offset(end: u64, address: u64, align: u64) -> u64 {
    end + (address.wrapping_sub(end) & (align - 1))
}

#[cfg(test)]
mod tests {
    use super::congruent_offset;

    #[test]
    fn offsets_are_congruent_and_ascend() {
        for (end, address, align, offset) in [
            (0x1a8, 0x20_0000, 0x1000, 0x1000),
            (0x1000, 0x20_0000, 0x1000, 0x1000),
            (0x1001, 0x20_1018, 0x1000, 0x1018),
            (0x1019, 0x20_1018, 0x1000, 0x2018),
            (0x1019, 0x20_1018, 1, 0x1019),
        ] {
            assert_eq!(congruent_offset(end, address, align), offset);
        }
    }
}
