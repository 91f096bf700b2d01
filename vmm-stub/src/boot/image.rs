//! An appliance's ELF file, checked before any of it is loaded.
//!
//! The file is hostile input. What [`Image::parse`] returns has program headers that lie in the file, segments that lie
//! in the machine's RAM above the boot data and don't overlap, and entry points inside a segment. It is a pure function
//! of the bytes and the RAM's size; it allocates at most for [`PROGRAM_HEADERS_MAX`] segments and loads nothing.

use crate::memory::layout::backed_regions;
use crate::memory::size::MemoryLen;
use elf::abi::{EM_X86_64, ET_EXEC, PT_LOAD, PT_NOTE};
use elf::endian::LittleEndian;
use elf::file::{Class, ELF64_EHDR_TAILSIZE, FileHeader};
use elf::note::{Note, NoteIterator};
use elf::parse::ParsingTable;
use elf::segment::ProgramHeader;
use guest_interface::layout::{HIGH_RAM_START, IMAGE_BASE};
use guest_interface::symbols::{self, SymbolTable};
use std::ops::Range;

/// Longest file that is read as an image, in bytes.
pub const IMAGE_LEN_MAX: u64 = 256 << 20;

/// Most program headers an image can have.
pub const PROGRAM_HEADERS_MAX: u16 = 64;

/// Type of the note with the 32-bit entry address (`XEN_ELFNOTE_PHYS32_ENTRY`, Xen's public/elfnote.h).
const NOTE_PHYS32_ENTRY: u64 = 18;
const NOTE_OWNER: &[u8] = b"Xen\0";
const NOTE_ALIGNMENT: usize = 4;

const HEADER_LEN: usize = elf::abi::EI_NIDENT + ELF64_EHDR_TAILSIZE;
const PROGRAM_HEADER_LEN: u16 = 56;

/// What is wrong with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Wrong first bytes.
    #[error("it is not an ELF file, nor a disk image of Freehold; build an appliance with `just build`")]
    NotElf,
    /// 32-bit, or big-endian.
    #[error("it is not a 64-bit little-endian ELF file; build it for x86_64-unknown-none")]
    WrongClass,
    /// Another architecture; the field is `e_machine`.
    #[error("it is for another processor (ELF machine {0}); build it for x86_64-unknown-none")]
    WrongMachine(u16),
    /// A shared object, PIE or object file; the field is `e_type`.
    #[error(
        "it has no fixed address (ELF type {0}, not {ET_EXEC}); link it at {IMAGE_BASE:#x} without relocations"
    )]
    NotExecutable(u16),
    /// Program headers of another length, none, or too many.
    #[error(
        "its {count} program headers of {len_bytes} bytes can't be used; at most {PROGRAM_HEADERS_MAX} \
         of {PROGRAM_HEADER_LEN} bytes can"
    )]
    ProgramHeaders {
        /// Number of headers.
        count: u16,
        /// Length of each.
        len_bytes: u16,
    },
    /// Something lies beyond the file's end.
    #[error("it is truncated: its {part} end at byte {needed} and it has {len_bytes}; build it again")]
    Truncated {
        /// What is cut.
        part: &'static str,
        /// Where that ends, saturated.
        needed: u64,
        /// Length of the file.
        len_bytes: u64,
    },
    /// No note with the PVH entry.
    #[error(
        "it has no PVH note (type {NOTE_PHYS32_ENTRY}, owner Xen) and so no entry point; link it as an appliance"
    )]
    NoPvhNote,
    /// More bytes in the file than in memory.
    #[error("its segment at {address:#x} has more bytes in the file than in memory; link it again")]
    SegmentLongerInFile {
        /// Guest-physical address.
        address: u64,
    },
    /// No segment has anything to load.
    #[error("it has nothing to load; link it as an appliance")]
    NothingToLoad,
    /// Below the RAM that images may use.
    #[error(
        "its segment at {address:#x} lies below {HIGH_RAM_START:#x}, where boot data is; \
         link it at {IMAGE_BASE:#x}"
    )]
    SegmentInBootData {
        /// Guest-physical address.
        address: u64,
    },
    /// Not in RAM.
    #[error(
        "its segment of {len_bytes} bytes at {address:#x} does not fit into RAM; give a larger --memory \
         or link it at {IMAGE_BASE:#x}"
    )]
    SegmentOutsideRam {
        /// Guest-physical address.
        address: u64,
        /// Length in memory.
        len_bytes: u64,
    },
    /// Two segments share addresses.
    #[error("its segments at {first:#x} and {second:#x} overlap; link it again")]
    SegmentsOverlap {
        /// The lower one.
        first: u64,
        /// The higher one.
        second: u64,
    },
    /// An entry point that is not loaded.
    #[error("its {which} entry point {address:#x} is in no segment; link it again")]
    EntryOutsideSegments {
        /// Which of the two.
        which: &'static str,
        /// Guest-physical address.
        address: u64,
    },
}

/// Where an image starts, guest-physical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// In 32-bit protected mode with paging off, by the PVH note.
    pub pvh: u32,
    /// In 64-bit mode with the first GiB mapped one to one, by the ELF header.
    pub long_mode: u64,
}

/// A part of an image that takes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// Number of them.
    pub file_len: u64,
    /// Guest-physical address.
    pub address: u64,
    /// Bytes in memory, as many or more; those that do not come from the file are 0.
    pub memory_len: u64,
}

impl Segment {
    /// The address behind it; none that was checked overflows.
    pub(crate) const fn end(&self) -> u64 {
        self.address + self.memory_len
    }
}

/// A checked image.
#[derive(Clone, Debug)]
pub struct Image {
    bytes: Vec<u8>,
    entry: Entry,
    segments: Vec<Segment>,
    symbols: Option<Range<usize>>,
}

impl Image {
    /// Checks an ELF file for a machine with this much RAM.
    ///
    /// # Errors
    /// [`ImageError`] for a file that is not an x86-64 PVH image which fits.
    pub fn parse(bytes: Vec<u8>, memory: MemoryLen) -> Result<Self, ImageError> {
        let header = file_header(&bytes)?;
        let table = program_headers(&bytes, &header)?;
        let headers: Vec<ProgramHeader> = table.iter().collect();
        let segments = loaded_segments(&headers, bytes.len(), memory)?;

        let entry = Entry { pvh: pvh_entry(&bytes, &headers)?, long_mode: header.e_entry };
        for (which, address) in [("PVH", u64::from(entry.pvh)), ("64-bit", entry.long_mode)] {
            if !segments.iter().any(|segment| (segment.address..segment.end()).contains(&address)) {
                return Err(ImageError::EntryOutsideSegments { which, address });
            }
        }
        let symbols = headers
            .iter()
            .find(|header| header.p_type == symbols::PROGRAM_HEADER_TYPE)
            .and_then(|header| file_range(header, bytes.len(), "symbols").ok());
        Ok(Self { bytes, entry, segments, symbols })
    }

    /// The whole file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where it starts.
    #[must_use]
    pub const fn entry(&self) -> Entry {
        self.entry
    }

    /// What is loaded, by ascending address.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Its symbol table, if it was packed with one.
    #[must_use]
    pub fn symbols(&self) -> Option<SymbolTable<'_>> {
        SymbolTable::new(self.bytes.get(self.symbols.clone()?)?)
    }
}

fn file_header(bytes: &[u8]) -> Result<FileHeader<LittleEndian>, ImageError> {
    if !bytes.starts_with(&elf::abi::ELFMAGIC) {
        return Err(ImageError::NotElf);
    }
    let (ident, tail) = bytes
        .split_at_checked(HEADER_LEN)
        .map(|(header, _)| header.split_at(elf::abi::EI_NIDENT))
        .ok_or(ImageError::Truncated {
            part: "headers",
            needed: HEADER_LEN as u64,
            len_bytes: bytes.len() as u64,
        })?;
    let ident = elf::file::parse_ident::<LittleEndian>(ident).map_err(|_| ImageError::WrongClass)?;
    if ident.1 != Class::ELF64 {
        return Err(ImageError::WrongClass);
    }
    let header = FileHeader::parse_tail(ident, tail).map_err(|_| ImageError::NotElf)?;
    if header.e_machine != EM_X86_64 {
        return Err(ImageError::WrongMachine(header.e_machine));
    }
    if header.e_type != ET_EXEC {
        return Err(ImageError::NotExecutable(header.e_type));
    }
    Ok(header)
}

fn program_headers<'bytes>(
    bytes: &'bytes [u8],
    header: &FileHeader<LittleEndian>,
) -> Result<ParsingTable<'bytes, LittleEndian, ProgramHeader>, ImageError> {
    let (count, len_bytes) = (header.e_phnum, header.e_phentsize);
    if count == 0 || count > PROGRAM_HEADERS_MAX || len_bytes != PROGRAM_HEADER_LEN {
        return Err(ImageError::ProgramHeaders { count, len_bytes });
    }
    let table_len = u64::from(count) * u64::from(len_bytes);
    let range = range_within(header.e_phoff, table_len, bytes.len(), "program headers")?;
    Ok(ParsingTable::new(LittleEndian, Class::ELF64, &bytes[range]))
}

/// A range of the file, if the file is that long.
fn range_within(
    offset: u64,
    len: u64,
    file_len: usize,
    part: &'static str,
) -> Result<Range<usize>, ImageError> {
    let error =
        ImageError::Truncated { part, needed: offset.saturating_add(len), len_bytes: file_len as u64 };
    let end = offset.checked_add(len).ok_or(error)?;
    let range = usize::try_from(offset).map_err(|_| error)?..usize::try_from(end).map_err(|_| error)?;
    if range.end > file_len { Err(error) } else { Ok(range) }
}

fn file_range(
    header: &ProgramHeader,
    file_len: usize,
    part: &'static str,
) -> Result<Range<usize>, ImageError> {
    range_within(header.p_offset, header.p_filesz, file_len, part)
}

/// All segments that take memory, by ascending address.
fn loaded_segments(
    headers: &[ProgramHeader],
    file_len: usize,
    memory: MemoryLen,
) -> Result<Vec<Segment>, ImageError> {
    let mut segments = Vec::with_capacity(headers.len());
    for header in headers.iter().filter(|header| header.p_type == PT_LOAD) {
        let (address, len_bytes) = (header.p_paddr, header.p_memsz);
        file_range(header, file_len, "segments")?;
        if header.p_filesz > len_bytes {
            return Err(ImageError::SegmentLongerInFile { address });
        }
        if len_bytes == 0 {
            continue;
        }
        if address < HIGH_RAM_START {
            return Err(ImageError::SegmentInBootData { address });
        }
        let outside = ImageError::SegmentOutsideRam { address, len_bytes };
        let end = address.checked_add(len_bytes).ok_or(outside)?;
        if !backed_regions(memory).any(|region| region.start <= address && end <= region.end()) {
            return Err(outside);
        }
        let (offset, file_len) = (header.p_offset, header.p_filesz);
        segments.push(Segment { offset, file_len, address, memory_len: len_bytes });
    }
    segments.sort_by_key(|segment| segment.address);
    let overlap = segments.windows(2).find(|pair| pair[0].end() > pair[1].address);
    if let Some(pair) = overlap {
        return Err(ImageError::SegmentsOverlap { first: pair[0].address, second: pair[1].address });
    }
    if segments.is_empty() { Err(ImageError::NothingToLoad) } else { Ok(segments) }
}

/// The address in the first PVH note. It is 4 bytes, or 8 in images that say it as a 64-bit number.
fn pvh_entry(bytes: &[u8], headers: &[ProgramHeader]) -> Result<u32, ImageError> {
    for header in headers.iter().filter(|header| header.p_type == PT_NOTE) {
        let notes = &bytes[file_range(header, bytes.len(), "notes")?];
        for note in NoteIterator::new(LittleEndian, Class::ELF64, NOTE_ALIGNMENT, notes) {
            if let Note::Unknown(note) = note
                && note.n_type == NOTE_PHYS32_ENTRY
                && note.name == NOTE_OWNER
                && let Some(address) = note.desc.first_chunk()
            {
                return Ok(u32::from_le_bytes(*address));
            }
        }
    }
    Err(ImageError::NoPvhNote)
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
