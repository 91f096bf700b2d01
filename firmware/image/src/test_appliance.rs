//! The least appliance there can be, for tests to spoil.

/// Offset of the program headers, and the length of one.
pub(crate) const HEADERS: usize = 64;
pub(crate) const HEADER_LEN: usize = 56;
/// Where the loaded bytes are in the file.
pub(crate) const CONTENT: usize = 0x1000;
/// Where they go.
pub(crate) const ADDRESS: u32 = 0x20_0000;

/// An ELF file with one segment of 600 bytes, 0x2000 in memory, which begins with the PVH note; the entry is 0x40 in it.
pub(crate) fn appliance() -> Vec<u8> {
    let mut file = vec![0; CONTENT + 600];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &[2, 0, 62, 0, 1]);
    put(32, &(HEADERS as u64).to_le_bytes());
    put(52, &[64, 0, HEADER_LEN as u8, 0, 2, 0, 64]);
    for (index, kind, file_len, memory_len) in [(0, 1u32, 600u64, 0x2000u64), (1, 4, 20, 20)] {
        let at = HEADERS + index * HEADER_LEN;
        put(at, &kind.to_le_bytes());
        for (field, value) in
            [CONTENT as u64, ADDRESS.into(), ADDRESS.into(), file_len, memory_len, 4].into_iter().enumerate()
        {
            put(at + 8 + field * 8, &value.to_le_bytes());
        }
    }
    put(CONTENT, &[4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0]);
    put(CONTENT + 12, b"Xen\0");
    put(CONTENT + 16, &(ADDRESS + 0x40).to_le_bytes());
    put(CONTENT + 0x40, &[0x5a; 600 - 0x40]);
    file
}
