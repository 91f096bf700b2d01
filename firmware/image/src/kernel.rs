//! Reads an appliance: what a loader has to put where. A loader of whole blocks needs segments that begin with a block.

use crate::error::KernelError;
use arrayvec::ArrayVec;
use guest_interface::layout::HIGH_RAM_START;
use image_header::{BLOCK_LEN, SEGMENTS_MAX};
use object::LittleEndian;
use object::elf::{EM_X86_64, ET_EXEC, FileHeader64, PT_LOAD, PT_NOTE, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader};

/// First address that no kernel reaches: the head maps the first GiB, and runs in there.
pub const LOAD_END_MAX: u64 = 1 << 30;

/// Type of the note with the 32-bit entry address (`XEN_ELFNOTE_PHYS32_ENTRY`, Xen's public/elfnote.h).
const NOTE_PHYS32_ENTRY: u32 = 18;

const ENDIAN: LittleEndian = LittleEndian;

/// A part of the file that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadSegment {
    /// Where it begins in the file: at a multiple of [`BLOCK_LEN`].
    pub offset: u32,
    /// Physical address.
    pub address: u32,
    /// Bytes that come from the file.
    pub file_len: u32,
    /// Bytes in memory, as many or more.
    pub memory_len: u32,
}

/// What a loader needs to know of an appliance. Segments are in memory above 1 MiB and below [`LOAD_END_MAX`], ascend, do not
/// overlap, and one holds the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Physical address of the PVH entry.
    pub entry: u32,
    /// What is loaded.
    pub segments: ArrayVec<LoadSegment, SEGMENTS_MAX>,
}

impl Kernel {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn read(file: &[u8]) -> Result<Self, KernelError> {
        let not = |reason| KernelError::NotAnAppliance { reason };
        let header =
            FileHeader64::<LittleEndian>::parse(file).map_err(|_| not("it is no 64-bit ELF file"))?;
        if !header.is_little_endian()
            || header.e_machine(ENDIAN) != EM_X86_64
            || header.e_type(ENDIAN) != ET_EXEC
        {
            return Err(not("it is no static executable for x86-64"));
        }
        if u32::try_from(file.len()).is_err() {
            return Err(KernelError::FileTooLarge { len_bytes: file.len() });
        }
        let headers =
            header.program_headers(ENDIAN, file).map_err(|_| not("its program headers can't be read"))?;
        let loads = headers.iter().filter(|it| it.p_type(ENDIAN) == PT_LOAD && it.p_memsz(ENDIAN) > 0);
        let mut segments = loads.map(|it| load_segment(it, file)).collect::<Result<Vec<_>, _>>()?;
        segments.sort_by_key(|segment| segment.address);
        if let Some(pair) =
            segments.windows(2).find(|pair| pair[1].address - pair[0].address < pair[0].memory_len)
        {
            let address = pair[1].address.into();
            return Err(KernelError::Segment { address, reason: "it overlaps another" });
        }
        let entry = pvh_entry(headers, file).ok_or(not("it has no note with a PVH entry"))?;
        let holds =
            |it: &LoadSegment| entry.checked_sub(it.address).is_some_and(|offset| offset < it.file_len);
        if !segments.iter().any(holds) {
            return Err(not("its PVH entry is in no segment"));
        }
        let too_many = |_| KernelError::TooManySegments { count: segments.len() };
        let segments = ArrayVec::try_from(segments.as_slice()).map_err(too_many)?;
        Ok(Self { entry, segments })
    }
}

fn load_segment(header: &ProgramHeader64<LittleEndian>, file: &[u8]) -> Result<LoadSegment, KernelError> {
    let address = header.p_paddr(ENDIAN);
    let unusable = |reason| KernelError::Segment { address, reason };
    let (offset, file_len) = header.file_range(ENDIAN);
    let memory_len = header.p_memsz(ENDIAN);
    header.data(ENDIAN, file).map_err(|()| unusable("it ends behind the file"))?;
    if file_len > memory_len {
        return Err(unusable("it is longer in the file than in memory"));
    }
    if file_len > 0 && !offset.is_multiple_of(BLOCK_LEN as u64) {
        return Err(unusable(
            "it does not begin with a block of 512 bytes in the file; pack it with image-tool",
        ));
    }
    if address < HIGH_RAM_START {
        return Err(unusable("it lies below 1 MiB, where the loader runs"));
    }
    let end = address.checked_add(memory_len).ok_or(unusable("its addresses overflow"))?;
    let too_large = KernelError::TooLarge { end, max: LOAD_END_MAX };
    if end > LOAD_END_MAX {
        return Err(too_large);
    }
    let narrow = |value: u64| u32::try_from(value).map_err(|_| too_large.clone());
    // A segment without bytes in the file may say any offset.
    let offset = if file_len > 0 { narrow(offset)? } else { 0 };
    Ok(LoadSegment {
        offset,
        address: narrow(address)?,
        file_len: narrow(file_len)?,
        memory_len: narrow(memory_len)?,
    })
}

/// The address in the first PVH note.
fn pvh_entry(headers: &[ProgramHeader64<LittleEndian>], file: &[u8]) -> Option<u32> {
    for header in headers.iter().filter(|header| header.p_type(ENDIAN) == PT_NOTE) {
        let Ok(Some(mut notes)) = header.notes(ENDIAN, file) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == b"Xen"
                && note.n_type(ENDIAN) == NOTE_PHYS32_ENTRY
                && let Some(address) = note.desc().first_chunk()
            {
                return Some(u32::from_le_bytes(*address));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_appliance::{ADDRESS, CONTENT, HEADER_LEN, HEADERS, appliance};

    /// Fields of the load segment's header.
    const OFFSET: usize = HEADERS + 8;
    const PHYSICAL: usize = HEADERS + 24;
    const FILE_LEN: usize = HEADERS + 32;
    const MEMORY_LEN: usize = HEADERS + 40;

    fn spoilt(at: usize, bytes: &[u8]) -> KernelError {
        let mut file = appliance();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        Kernel::read(&file).unwrap_err()
    }

    #[test]
    fn segment_and_entry_are_read() {
        let segment =
            LoadSegment { offset: CONTENT as u32, address: ADDRESS, file_len: 600, memory_len: 0x2000 };
        assert_eq!(
            Kernel::read(&appliance()),
            Ok(Kernel { entry: ADDRESS + 0x40, segments: ArrayVec::from_iter([segment]) })
        );
    }

    #[test]
    fn other_files_are_no_appliances() {
        let entry = |address: u32| spoilt(CONTENT + 16, &address.to_le_bytes());
        for (error, reason) in [
            (Kernel::read(b"#!/bin/sh").unwrap_err(), "no 64-bit ELF file"),
            (spoilt(4, &[1]), "no 64-bit ELF file"),
            (spoilt(18, &[3]), "no static executable"),
            (spoilt(16, &[3]), "no static executable"),
            (spoilt(CONTENT + 8, &[17]), "no note with a PVH entry"),
            (spoilt(CONTENT + 12, b"Yen"), "no note with a PVH entry"),
            (entry(ADDRESS - 1), "entry is in no segment"),
            (entry(ADDRESS + 600), "entry is in no segment"),
        ] {
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn what_the_loader_cannot_load_is_refused() {
        let field = |at, value: u64| spoilt(at, &value.to_le_bytes());
        for (error, reason) in [
            (field(OFFSET, CONTENT as u64 + 1), "ends behind the file"),
            (field(FILE_LEN, 0x2001), "ends behind the file"),
            (field(MEMORY_LEN, 599), "longer in the file"),
            (field(OFFSET, CONTENT as u64 - 16), "does not begin with a block"),
            (field(PHYSICAL, 0xf_f000), "below 1 MiB"),
            (field(PHYSICAL, u64::MAX - 0x100), "overflow"),
        ] {
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert!(
            matches!(field(MEMORY_LEN, LOAD_END_MAX), KernelError::TooLarge { end, .. } if end > LOAD_END_MAX)
        );
        // The note's header made one of a second segment.
        let error = spoilt(HEADERS + HEADER_LEN, &[1]);
        assert_eq!(error, KernelError::Segment { address: ADDRESS.into(), reason: "it overlaps another" });
    }
}
