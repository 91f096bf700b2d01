//! Images that are right, wrong in one field, and wrong in any byte.

use super::*;
use crate::boot::load::load;
use crate::memory::GuestMemory;
use guest_interface::layout::DEVICE_HOLE_START;
use guest_interface::symbols::Symbol;
use vm_memory::{Bytes, GuestAddress};

const E_TYPE: usize = 16;
const E_MACHINE: usize = 18;
const E_ENTRY: usize = 24;
const E_PHOFF: usize = 32;
const E_PHENTSIZE: usize = 54;
const E_PHNUM: usize = 56;

/// Fields of a program header.
#[derive(Clone, Copy)]
struct Header {
    kind: u32,
    offset: u64,
    address: u64,
    file_len: u64,
    memory_len: u64,
}

const TEXT: Header =
    Header { kind: PT_LOAD, offset: 0x200, address: IMAGE_BASE, file_len: 0x40, memory_len: 0x40 };
const DATA: Header =
    Header { kind: PT_LOAD, offset: 0x240, address: IMAGE_BASE + 0x1000, file_len: 0, memory_len: 0x3000 };
const NOTE: Header = Header { kind: PT_NOTE, offset: 0x180, address: 0, file_len: 20, memory_len: 20 };

fn memory() -> MemoryLen {
    MemoryLen::new(16 << 20).unwrap()
}

fn put(bytes: &mut [u8], offset: usize, field: &[u8]) {
    bytes[offset..offset + field.len()].copy_from_slice(field);
}

/// An image of 0x400 bytes whose PVH entry is 0x10 and whose 64-bit entry 0x20 behind [`IMAGE_BASE`].
fn image(headers: &[Header]) -> Vec<u8> {
    let mut bytes = vec![0; 0x400];
    put(&mut bytes, 0, b"\x7fELF\x02\x01\x01");
    put(&mut bytes, E_TYPE, &ET_EXEC.to_le_bytes());
    put(&mut bytes, E_MACHINE, &EM_X86_64.to_le_bytes());
    put(&mut bytes, E_ENTRY, &(IMAGE_BASE + 0x20).to_le_bytes());
    put(&mut bytes, E_PHOFF, &0x40_u64.to_le_bytes());
    put(&mut bytes, E_PHENTSIZE, &PROGRAM_HEADER_LEN.to_le_bytes());
    put(&mut bytes, E_PHNUM, &(headers.len() as u16).to_le_bytes());
    for (index, header) in headers.iter().enumerate() {
        let at = 0x40 + index * usize::from(PROGRAM_HEADER_LEN);
        put(&mut bytes, at, &header.kind.to_le_bytes());
        for (field, value) in
            [(8, header.offset), (24, header.address), (32, header.file_len), (40, header.memory_len)]
        {
            put(&mut bytes, at + field, &value.to_le_bytes());
        }
    }
    for (field, value) in [(0, 4), (4, 4), (8, 18_u32), (16, IMAGE_BASE as u32 + 0x10)] {
        put(&mut bytes, 0x180 + field, &value.to_le_bytes());
    }
    put(&mut bytes, 0x18c, b"Xen\0");
    bytes
}

fn parse(bytes: Vec<u8>) -> Result<Image, ImageError> {
    Image::parse(bytes, memory())
}

/// The error of an image whose field at `offset` is overwritten.
fn error_with(offset: usize, field: &[u8]) -> ImageError {
    let mut bytes = image(&[TEXT, DATA, NOTE]);
    put(&mut bytes, offset, field);
    parse(bytes).unwrap_err()
}

#[test]
fn both_entry_points_of_an_image_are_found() {
    let image = parse(image(&[TEXT, DATA, NOTE])).unwrap();
    assert_eq!(image.entry(), Entry { pvh: IMAGE_BASE as u32 + 0x10, long_mode: IMAGE_BASE + 0x20 });
    assert!(image.symbols().is_none());
}

#[test]
fn what_is_no_elf_for_this_machine_is_refused() {
    for bytes in [b"".to_vec(), b"#!/bin/sh\n".to_vec(), vec![0; 4096]] {
        assert_eq!(parse(bytes).unwrap_err(), ImageError::NotElf);
    }
    assert_eq!(error_with(4, &[1]), ImageError::WrongClass, "32-bit");
    assert_eq!(error_with(5, &[2]), ImageError::WrongClass, "big-endian");
    assert_eq!(error_with(E_MACHINE, &[183, 0]), ImageError::WrongMachine(183));
    assert_eq!(error_with(E_TYPE, &[3, 0]), ImageError::NotExecutable(3));
}

#[test]
fn an_image_cut_anywhere_is_refused() {
    let whole = image(&[Header { file_len: 0x200, memory_len: 0x200, ..TEXT }, DATA, NOTE]);
    for len in 0..whole.len() {
        let error = parse(whole[..len].to_vec()).unwrap_err();
        let expected =
            matches!(error, ImageError::Truncated { .. }) || (len < 4 && error == ImageError::NotElf);
        assert!(expected, "{len}: {error:?}");
    }
}

#[test]
fn program_headers_that_are_none_too_many_or_elsewhere_are_refused() {
    assert!(matches!(error_with(E_PHNUM, &[0, 0]), ImageError::ProgramHeaders { count: 0, .. }));
    assert!(matches!(error_with(E_PHNUM, &[65, 0]), ImageError::ProgramHeaders { count: 65, .. }));
    assert!(matches!(error_with(E_PHENTSIZE, &[32, 0]), ImageError::ProgramHeaders { len_bytes: 32, .. }));
    for offset in [0x3ff, u64::MAX - 8, u64::MAX] {
        let error = error_with(E_PHOFF, &offset.to_le_bytes());
        assert!(matches!(error, ImageError::Truncated { .. }), "{offset:#x}: {error:?}");
    }
}

#[test]
fn segments_must_lie_in_ram_above_the_boot_data() {
    let with = |address, memory_len| parse(image(&[TEXT, Header { address, memory_len, ..DATA }, NOTE]));
    for address in [0, 0x6000, HIGH_RAM_START - 1] {
        assert_eq!(with(address, 0x1000).unwrap_err(), ImageError::SegmentInBootData { address });
    }
    for (address, len_bytes) in [
        (16 << 20, 1),
        ((16 << 20) - 0x1000, 0x1001),
        (DEVICE_HOLE_START, 0x1000),
        (1 << 32, 0x1000),
        (u64::MAX, 1),
        (IMAGE_BASE + 0x1000, u64::MAX),
    ] {
        let expected = ImageError::SegmentOutsideRam { address, len_bytes };
        assert_eq!(with(address, len_bytes).unwrap_err(), expected);
    }
    assert!(with((16 << 20) - 0x1000, 0x1000).is_ok(), "up to the end of RAM");
    assert!(with(0, 0).is_ok(), "an empty segment lies nowhere");
}

#[test]
fn a_segment_may_not_reach_across_the_device_hole() {
    let across = Header { address: DEVICE_HOLE_START - 0x1000, memory_len: 0x4000_2000, ..DATA };
    let memory = MemoryLen::new(4 << 30).unwrap();
    let error = Image::parse(image(&[TEXT, across, NOTE]), memory).unwrap_err();
    assert!(matches!(error, ImageError::SegmentOutsideRam { .. }));
}

#[test]
fn segments_may_touch_but_not_overlap() {
    let touching = Header { address: IMAGE_BASE + 0x40, ..DATA };
    assert!(parse(image(&[touching, TEXT, NOTE])).is_ok());
    let overlapping = Header { address: IMAGE_BASE + 0x3f, ..DATA };
    let expected = ImageError::SegmentsOverlap { first: IMAGE_BASE, second: IMAGE_BASE + 0x3f };
    assert_eq!(parse(image(&[overlapping, TEXT, NOTE])).unwrap_err(), expected);
}

#[test]
fn a_segment_has_no_more_bytes_in_the_file_than_in_memory() {
    let longer = Header { file_len: 0x41, ..TEXT };
    let expected = ImageError::SegmentLongerInFile { address: IMAGE_BASE };
    assert_eq!(parse(image(&[longer, NOTE])).unwrap_err(), expected);
}

#[test]
fn without_a_pvh_note_there_is_no_entry() {
    assert_eq!(parse(image(&[TEXT, DATA])).unwrap_err(), ImageError::NoPvhNote);
    for (offset, field) in [(0x188, 17), (0x18c, 0), (0x180, u32::MAX), (0x184, 3), (0x184, u32::MAX)] {
        assert_eq!(error_with(offset, &field.to_le_bytes()), ImageError::NoPvhNote, "{offset:#x}");
    }
    assert_eq!(parse(image(&[NOTE])).unwrap_err(), ImageError::NothingToLoad);
}

#[test]
fn entries_must_be_loaded() {
    let error = error_with(0x190, &(IMAGE_BASE as u32 + 0x40).to_le_bytes());
    assert_eq!(error, ImageError::EntryOutsideSegments { which: "PVH", address: IMAGE_BASE + 0x40 });
    let error = error_with(E_ENTRY, &u64::MAX.to_le_bytes());
    assert_eq!(error, ImageError::EntryOutsideSegments { which: "64-bit", address: u64::MAX });
}

#[test]
fn symbols_are_read_where_the_file_has_them() {
    let symbol = Symbol { name: "start", address: IMAGE_BASE, len_bytes: 0x40 };
    let table = symbols::encode(&[symbol]).unwrap();
    let header = Header {
        kind: symbols::PROGRAM_HEADER_TYPE,
        offset: 0x300,
        address: 0,
        file_len: table.len() as u64,
        memory_len: 0,
    };
    let mut bytes = image(&[TEXT, NOTE, header]);
    put(&mut bytes, 0x300, &table);
    let image_with_symbols = parse(bytes).unwrap();
    let found = image_with_symbols.symbols().unwrap().find(IMAGE_BASE + 2);
    assert_eq!(found, Some((symbol, 2)));

    let beyond = Header { offset: u64::MAX, ..header };
    assert!(parse(image(&[TEXT, NOTE, beyond])).unwrap().symbols().is_none());
}

#[test]
fn segments_are_loaded_where_they_belong() {
    let guest = GuestMemory::from_ranges(&[(GuestAddress(0), memory().bytes() as usize)]).unwrap();
    let mut bytes = image(&[Header { memory_len: 0x80, ..TEXT }, DATA, NOTE]);
    put(&mut bytes, TEXT.offset as usize, b"first");
    put(&mut bytes, (TEXT.offset + TEXT.file_len) as usize, b"not loaded");
    load(&parse(bytes).unwrap(), &guest).unwrap();
    let mut loaded = [0; 0x80];
    guest.read_slice(&mut loaded, GuestAddress(IMAGE_BASE)).unwrap();
    assert_eq!(&loaded[..5], b"first");
    assert!(loaded[TEXT.file_len as usize..].iter().all(|&byte| byte == 0));
}

#[test]
fn no_changed_byte_makes_an_image_that_does_not_fit() {
    let guest = GuestMemory::from_ranges(&[(GuestAddress(0), memory().bytes() as usize)]).unwrap();
    let whole = image(&[TEXT, DATA, NOTE]);
    for index in 0..whole.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[index] ^= change;
            if let Ok(image) = parse(bytes) {
                let entry = image.entry();
                assert!(entry.long_mode < memory().bytes() && u64::from(entry.pvh) < memory().bytes());
                let loaded = load(&image, &guest);
                assert!(loaded.is_ok(), "byte {index} changed by {change:#x}: {loaded:?}");
            }
        }
    }
}
