//! Firmware memory with tables in it, for tests.

use super::FirmwareMemory;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr::NonNull;

/// Where the memory of [`Tables`] starts.
pub(super) const START: u64 = 0x7ff0_0003;

/// Some bytes from an address on.
///
/// Each request gets a copy of its own, of just the bytes asked for, and at an odd address: so Miri sees each read beyond
/// them, and each reference that would have to be aligned.
pub(super) struct Memory {
    pub(super) start: u64,
    pub(super) bytes: Vec<u8>,
    shown: RefCell<Vec<Vec<u8>>>,
}

// SAFETY: 1. A copy lives in `shown` until the memory is dropped. 2. Nobody writes to it.
unsafe impl FirmwareMemory for Memory {
    fn show(&self, physical: u64, len_bytes: u64) -> Option<NonNull<u8>> {
        let start = usize::try_from(physical.checked_sub(self.start)?).ok()?;
        let bytes = self.bytes.get(start..start.checked_add(usize::try_from(len_bytes).ok()?)?)?;
        let copy = [&[0], bytes].concat();
        let shown = NonNull::from(copy.get(1..)?).cast();
        self.shown.borrow_mut().push(copy);
        Some(shown)
    }
}

impl Memory {
    pub(super) fn new(start: u64, bytes: Vec<u8>) -> Self {
        Self { start, bytes, shown: RefCell::default() }
    }

    pub(super) fn put(&mut self, address: u64, bytes: &[u8]) {
        self.at(address)[..bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn at(&mut self, address: u64) -> &mut [u8] {
        &mut self.bytes[(address - self.start) as usize..]
    }

    /// Writes the checksum at `offset` of the `len` bytes at `address`.
    pub(super) fn seal(&mut self, address: u64, len: usize, offset: usize) {
        let bytes = &mut self.at(address)[..len];
        bytes[offset] = 0;
        bytes[offset] = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    }

    fn push(&mut self, bytes: &[u8]) -> u64 {
        let address = self.start + self.bytes.len() as u64;
        self.bytes.extend(bytes);
        address
    }
}

/// A table with a header before `body`, and with a checksum.
pub(super) fn table(name: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let len = 36 + body.len() as u32;
    let header = [&name[..], &len.to_le_bytes(), &[revision, 0], b"MAKER TABLE   \x01\0\0\0TOOL\x01\0\0\0"];
    let mut memory = Memory::new(0, [&header.concat(), body].concat());
    memory.seal(0, len as usize, 9);
    memory.bytes
}

/// A generic address of a register in I/O space.
pub(super) fn port(port: u16) -> Vec<u8> {
    [&[1, 8, 0, 1], &u64::from(port).to_le_bytes()[..]].concat()
}

/// A local APIC's entry.
pub(super) fn local_apic(id: u8, flags: u8) -> [u8; 8] {
    [0, 8, id, id, flags, 0, 0, 0]
}

/// An x2APIC's entry.
pub(super) fn x2apic(id: u32, flags: u8) -> Vec<u8> {
    [&[9, 16, 0, 0], &id.to_le_bytes()[..], &[flags, 0, 0, 0], &id.to_le_bytes()].concat()
}

/// What the tables of a machine say.
#[derive(Clone)]
pub(super) struct Content {
    /// Revision of the RSDP: below 2 with an RSDT, else with an XSDT.
    pub(super) revision: u8,
    pub(super) madt_entries: Vec<u8>,
    pub(super) fadt_revision: u8,
    pub(super) fadt_len: usize,
    /// Fields of the FADT, by offset.
    pub(super) fadt_fields: Vec<(usize, Vec<u8>)>,
    /// The AML of the DSDT.
    pub(super) aml: Vec<u8>,
}

impl Content {
    /// Like QEMU's old PC: ACPI 1.0, two processors and a third that is not enabled, PM1a control at port 0x604.
    pub(super) fn old() -> Self {
        let entries = [local_apic(0, 1), local_apic(1, 1), local_apic(2, 0)].concat();
        let io_apic = [1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0];
        Self {
            revision: 0,
            madt_entries: [&entries[..], &io_apic].concat(),
            fadt_revision: 1,
            fadt_len: 116,
            fadt_fields: vec![(64, vec![4, 6, 0, 0]), (89, vec![2])],
            aml: b"\x10\x0c\\\0\x08_S5_\x12\x06\x04\0\0\0\0".to_vec(),
        }
    }

    /// Like Cloud Hypervisor: hardware-reduced, sleep control at port 0x600 with sleep type 5; the local APIC elsewhere, and
    /// processors with x2APIC entries.
    pub(super) fn reduced() -> Self {
        let elsewhere = [&[5, 12, 0, 0], &0x12_fee0_0000_u64.to_le_bytes()[..]].concat();
        Self {
            revision: 2,
            madt_entries: [x2apic(0, 1), elsewhere, x2apic(0x1234, 1), x2apic(7, 2)].concat(),
            fadt_revision: 6,
            fadt_len: 276,
            fadt_fields: vec![(112, vec![0, 0, 0x10, 0]), (244, port(0x600))],
            aml: b"\x08_S5_\x12\x04\x01\x0a\x05".to_vec(),
        }
    }

    /// The tables in memory.
    pub(super) fn build(&self) -> Tables {
        let mut memory = Memory::new(START, Vec::new());
        let dsdt = memory.push(&table(b"DSDT", 2, &self.aml));
        let mut fadt = vec![0; self.fadt_len - 36];
        let mut put = |offset: usize, bytes: &[u8]| {
            fadt[offset - 36..][..bytes.len()].copy_from_slice(bytes);
        };
        put(40, &(dsdt as u32).to_le_bytes());
        for (offset, bytes) in &self.fadt_fields {
            put(*offset, bytes);
        }
        let fadt = memory.push(&table(b"FACP", self.fadt_revision, &fadt));
        let madt = [&[0, 0, 0xe0, 0xfe, 1, 0, 0, 0], &self.madt_entries[..]].concat();
        let madt = memory.push(&table(b"APIC", 3, &madt));
        let other = memory.push(&table(b"HPET", 1, &[0; 20]));
        let listed = [other, 0, fadt, madt];
        let (rsdt, xsdt, root);
        let mut rsdp = b"RSD PTR \0MAKER ".to_vec();
        rsdp.push(self.revision);
        if self.revision < 2 {
            let list = listed.map(|address| (address as u32).to_le_bytes());
            (rsdt, xsdt) = (memory.push(&table(b"RSDT", 1, &list.concat())), 0);
            root = rsdt;
        } else {
            let list = listed.map(u64::to_le_bytes);
            (rsdt, xsdt) = (0, memory.push(&table(b"XSDT", 1, &list.concat())));
            root = xsdt;
        }
        rsdp.extend((rsdt as u32).to_le_bytes());
        if self.revision >= 2 {
            rsdp.extend([&36u32.to_le_bytes(), &xsdt.to_le_bytes()[..], &[0; 4]].concat());
        }
        let rsdp = memory.push(&rsdp);
        let mut tables = Tables { memory, rsdp, root, madt, fadt, dsdt };
        tables.seal_rsdp();
        tables
    }
}

/// Tables in memory, and where each is.
pub(super) struct Tables {
    pub(super) memory: Memory,
    pub(super) rsdp: u64,
    pub(super) root: u64,
    pub(super) madt: u64,
    pub(super) fadt: u64,
    pub(super) dsdt: u64,
}

impl Tables {
    /// Makes the checksums of the RSDP right.
    pub(super) fn seal_rsdp(&mut self) {
        self.memory.seal(self.rsdp, 20, 8);
        if self.memory.at(self.rsdp).len() >= 36 {
            self.memory.seal(self.rsdp, 36, 32);
        }
    }

    /// Makes the checksum of a table right, if all of it is there.
    pub(super) fn seal(&mut self, table: u64) {
        let bytes = self.memory.at(table);
        let len =
            bytes.get(4..8).map_or(0, |field| u32::from_le_bytes([field[0], field[1], field[2], field[3]]));
        if (36..=bytes.len()).contains(&(len as usize)) {
            self.memory.seal(table, len as usize, 9);
        }
    }

    /// Changes some bytes of a table, and its checksum with them.
    pub(super) fn change(&mut self, table: u64, offset: u64, bytes: &[u8]) {
        self.memory.put(table + offset, bytes);
        if table == self.rsdp { self.seal_rsdp() } else { self.seal(table) }
    }
}
