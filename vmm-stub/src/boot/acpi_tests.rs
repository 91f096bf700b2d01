//! A guest's way through the tables: from the RSDP on, by the offsets of the ACPI specification.

use super::*;
use guest_interface::layout::{HIGH_RAM_START, LOW_RAM_END};

const LOW_MIB: usize = HIGH_RAM_START as usize;

fn written(processors: u8) -> GuestMemory {
    let memory = GuestMemory::from_ranges(&[(GuestAddress(0), LOW_MIB)]).unwrap();
    assert_eq!(write(&memory, processors).unwrap(), ACPI_TABLES);
    memory
}

fn read(memory: &GuestMemory, address: u64, len_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; len_bytes];
    memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
    bytes
}

fn u16_at(table: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(table[offset..offset + 2].try_into().unwrap())
}

fn u32_at(table: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(table[offset..offset + 4].try_into().unwrap())
}

fn u64_at(table: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(table[offset..offset + 8].try_into().unwrap())
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The whole table at an address, if header and checksum are right.
fn table(memory: &GuestMemory, address: u64, signature: &[u8; 4], revision: u8) -> Vec<u8> {
    assert!(address > LOW_RAM_END, "{address:#x} is RAM");
    let header = read(memory, address, HEADER_LEN as usize);
    let name = String::from_utf8_lossy(signature);
    assert_eq!((&header[..4], header[8]), (&signature[..], revision), "{name}");
    let table = read(memory, address, u32_at(&header, 4) as usize);
    assert_eq!(sum(&table), 0, "checksum of the {name}");
    assert_eq!((&table[10..16], &table[16..24]), (&OEM_ID[..], &OEM_TABLE_ID[..]), "{name}");
    table
}

fn xsdt(memory: &GuestMemory) -> Vec<u8> {
    let rsdp = read(memory, ACPI_TABLES, 36);
    assert_eq!(&rsdp[..8], b"RSD PTR ");
    assert_eq!((rsdp[15], u32_at(&rsdp, 16), u32_at(&rsdp, 20)), (2, 0, 36), "revision, RSDT, length");
    assert_eq!((sum(&rsdp[..20]), sum(&rsdp)), (0, 0), "both checksums");
    table(memory, u64_at(&rsdp, 24), b"XSDT", 1)
}

fn fadt(memory: &GuestMemory) -> Vec<u8> {
    table(memory, u64_at(&xsdt(memory), 36), b"FACP", 6)
}

fn madt(memory: &GuestMemory) -> Vec<u8> {
    table(memory, u64_at(&xsdt(memory), 44), b"APIC", 1)
}

#[test]
fn the_root_leads_to_two_tables() {
    assert_eq!(xsdt(&written(1)).len(), 36 + 2 * 8);
}

#[test]
fn the_fixed_table_says_what_there_is_not() {
    let fadt = fadt(&written(1));
    assert_eq!((fadt.len(), fadt[131]), (276, 5), "length and minor revision of ACPI 6.5");
    // HW_REDUCED_ACPI, HEADLESS, FIX_RTC, SLP_BUTTON, PWR_BUTTON, PROC_C1, WBINVD; not RESET_REG_SUP.
    assert_eq!(u32_at(&fadt, 112), 1 << 20 | 1 << 12 | 1 << 6 | 1 << 5 | 1 << 4 | 1 << 2 | 1);
    // LEGACY_DEVICES, VGA not present, CMOS RTC not present; not 8042.
    assert_eq!(u16_at(&fadt, 109), 0b10_0101);
    assert!(fadt[46..109].iter().all(|&byte| byte == 0), "no port, interrupt or command of fixed hardware");
    assert!(fadt[116..129].iter().all(|&byte| byte == 0), "no reset register");
    assert_eq!((u32_at(&fadt, 36), u64_at(&fadt, 132)), (0, 0), "no FACS");
    assert!(fadt[148..244].iter().all(|&byte| byte == 0), "no extended block of fixed hardware");
}

#[test]
fn the_sleep_registers_are_one_byte_at_the_sleep_control_port() {
    let fadt = fadt(&written(1));
    for offset in [244, 256] {
        assert_eq!(fadt[offset..offset + 4], [1, 8, 0, 1], "system I/O, 8 bits, offset 0, byte access");
        assert_eq!(u64_at(&fadt, offset + 4), u64::from(ports::SLEEP_CONTROL));
    }
}

#[test]
fn the_type_of_soft_off_powers_the_machine_off() {
    let memory = written(1);
    let fadt = fadt(&memory);
    assert_eq!(u32_at(&fadt, 40), 0, "of two pointers to the DSDT only one may be set");
    let dsdt = table(&memory, u64_at(&fadt, 140), b"DSDT", 2);
    // Name, root, _S5_; package of 6 bytes with its length and 2 elements, each a byte.
    assert_eq!(dsdt[36..], *b"\x08\\_S5_\x12\x06\x02\x0a\x05\x0a\x05");
    let (sleep_type, enable) = (dsdt[46], 1 << 5);
    assert!(sleep::powers_off(&[sleep_type << 2 | enable]));
}

#[test]
fn every_processor_has_an_enabled_local_apic() {
    for processors in [1, 2, u8::MAX] {
        let madt = madt(&written(processors));
        assert_eq!((u32_at(&madt, 36), u32_at(&madt, 40)), (0xfee0_0000, 0), "address, no PCAT_COMPAT");
        let expected: Vec<u8> = (0..processors).flat_map(|id| [0, 8, id, id, 1, 0, 0, 0]).collect();
        assert_eq!(madt[44..], expected);
    }
}

#[test]
fn the_tables_of_the_most_processors_end_in_the_bios_hole() {
    assert!(ACPI_TABLES + build(u8::MAX).len() as u64 <= HIGH_RAM_START);
}

#[test]
fn memory_that_ends_below_is_an_error() {
    let memory = GuestMemory::from_ranges(&[(GuestAddress(0), ACPI_TABLES as usize + 64)]).unwrap();
    assert!(write(&memory, 1).is_err());
}
