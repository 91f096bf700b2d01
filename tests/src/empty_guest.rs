//! The least guest there can be: it ends at once with status 0. What a host takes to run it is what it takes to run
//! any guest.

use crate::elf::{HEADER_LEN, LOAD, NOTE, PROGRAM_HEADER_LEN};
use guest_interface::debug_stream::status_message;
use guest_interface::layout::{IMAGE_BASE, PAGE_LEN};
use guest_interface::ports::{DEBUGCON, EXIT};

/// Type of the note with the 32-bit entry address (`XEN_ELFNOTE_PHYS32_ENTRY`, Xen's public/elfnote.h).
const NOTE_PHYS32_ENTRY: u32 = 18;

/// Where everything lies, in the file and from [`IMAGE_BASE`] on: the whole file is loaded, so both offsets are equal.
const NOTE_OFFSET: usize = HEADER_LEN + 2 * PROGRAM_HEADER_LEN;
const NOTE_LEN: usize = 20;
const CODE_OFFSET: usize = NOTE_OFFSET + NOTE_LEN;

/// Status 0, told as the kernel does: to QEMU's debug console and to the exit port. The same bytes are 32-bit and 64-bit
/// code.
fn code() -> Vec<u8> {
    let mut code = vec![0x31, 0xc0]; // xor eax, eax
    for byte in status_message(0) {
        code.extend([0xb0, byte]); // mov al, byte
        code.extend([0xe6, DEBUGCON as u8]); // out DEBUGCON, al
    }
    code.extend([0xe7, EXIT as u8]); // out EXIT, eax
    code.extend([0xeb, 0xfe]); // jmp $
    code
}

/// The guest as an ELF image with a PVH note.
#[must_use]
pub fn image() -> Vec<u8> {
    with_code(&code())
}

/// A guest that does something else, at its PVH entry.
#[must_use]
pub fn with_code(code: &[u8]) -> Vec<u8> {
    let entry = IMAGE_BASE + CODE_OFFSET as u64;
    let len = (CODE_OFFSET + code.len()) as u64;

    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend(words16(&[2, 62])); // ET_EXEC, EM_X86_64
    file.extend(1_u32.to_le_bytes());
    file.extend(words64(&[entry, HEADER_LEN as u64, 0]));
    file.extend(0_u32.to_le_bytes());
    file.extend(words16(&[HEADER_LEN as u16, PROGRAM_HEADER_LEN as u16, 2, 0, 0, 0]));

    let read_execute = 5_u32;
    for (kind, offset, len, align) in
        [(LOAD, 0, len, PAGE_LEN), (NOTE, NOTE_OFFSET as u64, NOTE_LEN as u64, 4)]
    {
        file.extend(kind.to_le_bytes());
        file.extend(read_execute.to_le_bytes());
        let address = IMAGE_BASE + offset;
        file.extend(words64(&[offset, address, address, len, len, align]));
    }

    for word in [4, 4, NOTE_PHYS32_ENTRY] {
        file.extend(u32::to_le_bytes(word));
    }
    file.extend(b"Xen\0");
    file.extend((entry as u32).to_le_bytes());
    file.extend(code);
    file
}

fn words16(words: &[u16]) -> impl Iterator<Item = u8> {
    words.iter().flat_map(|word| word.to_le_bytes())
}

fn words64(words: &[u64]) -> impl Iterator<Item = u8> {
    words.iter().flat_map(|word| word.to_le_bytes())
}
