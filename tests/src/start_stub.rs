//! Code that runs before an image's own: behind the last segment, with both entry points led through it.
//!
//! Whatever a VMM may give, the VMMs here give it right. Such code spoils it first, as another VMM would.

use crate::elf::{self, Field};

/// Offset of the entry point in the PVH note: behind three lengths and the name.
const NOTE_ENTRY: u64 = 16;
/// `mov eax, imm32`, and `jmp rax`, which in 32-bit code is `jmp eax`.
const LOAD: u8 = 0xb8;
const JUMP: [u8; 2] = [0xff, 0xe0];

/// The image with `code` before its start, by either entry. The code must mean the same in 32-bit and 64-bit mode, keep RBX,
/// and fall through at its end; it may use RAX. `None` for a file without the segments of a packed image.
#[must_use]
pub fn prepend(image: &[u8], code: &[u8]) -> Option<Vec<u8>> {
    let mut file = image.to_vec();
    let last = *elf::program_headers_of(&file, elf::LOAD).last()?;
    let note = *elf::program_headers_of(&file, elf::NOTE).first()?;
    let field = |file: &[u8], header: usize, field: Field| elf::read(file, header + field as usize);
    let len = field(&file, last, Field::FileLen);
    if field(&file, last, Field::Offset) + len != file.len() as u64 {
        return None;
    }
    let address = field(&file, last, Field::VirtualAddress) + len;
    let note_entry = (field(&file, note, Field::Offset) + NOTE_ENTRY) as usize;
    let mut stub_addresses = Vec::new();
    for entry in [elf::read(&file, note_entry) as u32, elf::read(&file, elf::ENTRY) as u32] {
        stub_addresses.push(address + (file.len() - image.len()) as u64);
        file.extend_from_slice(code);
        file.push(LOAD);
        file.extend_from_slice(&entry.to_le_bytes());
        file.extend_from_slice(&JUMP);
    }
    let added = (file.len() - image.len()) as u64;
    for of in [Field::FileLen, Field::MemoryLen] {
        elf::write(&mut file, last + of as usize, len + added);
    }
    file[note_entry..note_entry + 4].copy_from_slice(&(stub_addresses[0] as u32).to_le_bytes());
    elf::write(&mut file, elf::ENTRY, stub_addresses[1]);
    Some(file)
}

/// Code that writes a 32-bit word into the PVH start info, which EBX leads to.
#[must_use]
pub fn write_start_info(offset: u8, value: u32) -> Vec<u8> {
    // mov dword ptr [rbx + offset], value
    [&[0xc7, 0x43, offset][..], &value.to_le_bytes()].concat()
}

/// Code that writes 32-bit words into what a 32-bit address in the start info leads to.
#[must_use]
pub fn write_behind(pointer_offset: u8, words: &[(u8, u32)]) -> Vec<u8> {
    // mov eax, [rbx + pointer_offset]
    let mut code = vec![0x8b, 0x43, pointer_offset];
    for (offset, value) in words {
        // mov dword ptr [rax + offset], value
        code.extend_from_slice(&[0xc7, 0x40, *offset]);
        code.extend_from_slice(&value.to_le_bytes());
    }
    code
}

/// Where [`copy_behind`] copies to: RAM of a PC's that no VMM here has anything in, where a kernel looks for firmware tables.
const COPY: u32 = 0x8_0000;

/// Code that copies `len_bytes`, a multiple of 4, of what a 32-bit address in the start info leads to into RAM, and makes the
/// start info lead to the copy: what a host gives may be read-only.
#[must_use]
pub fn copy_behind(pointer_offset: u8, len_bytes: u8) -> Vec<u8> {
    let mut code = Vec::new();
    for offset in (0..len_bytes).step_by(4) {
        // mov eax, [rbx + pointer_offset]
        code.extend_from_slice(&[0x8b, 0x43, pointer_offset]);
        // mov eax, [rax + offset]
        code.extend_from_slice(&[0x8b, 0x40, offset]);
        // mov [COPY + offset], eax, by an index of nothing: without one the address is relative in 64-bit mode.
        code.extend_from_slice(&[0x89, 0x04, 0x25]);
        code.extend_from_slice(&(COPY + u32::from(offset)).to_le_bytes());
    }
    code.extend(write_start_info(pointer_offset, COPY));
    code
}
