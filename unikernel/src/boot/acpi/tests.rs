//! What is read from tables, and what is said of wrong ones.

use super::test_tables::{Content, Memory, START, Tables, local_apic, port, x2apic};
use super::*;
use AcpiTablesError as E;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

fn platform(content: &Content) -> Platform {
    let tables = content.build();
    read(&tables.memory, Some(tables.rsdp)).unwrap().unwrap()
}

fn register(port: u16, sleep_type: u8) -> crate::device::power_off::SleepRegister {
    crate::device::power_off::SleepRegister { port, sleep_type }
}

#[test]
fn an_old_pc_is_read() {
    let platform = platform(&Content::old());
    assert_eq!(platform.local_apic_address, 0xfee0_0000);
    assert_eq!(platform.processors.apic_ids(), [0, 1]);
    assert_eq!(platform.processors.enabled(), 2);
    assert_eq!(platform.power_off, Some(PowerOff::Pm1Control(register(0x604, 0), None)));
}

#[test]
fn a_hardware_reduced_machine_is_read() {
    let platform = platform(&Content::reduced());
    assert_eq!(platform.local_apic_address, 0x12_fee0_0000);
    assert_eq!(platform.processors.apic_ids(), [0, 0x1234]);
    assert_eq!(platform.power_off, Some(PowerOff::SleepControl(register(0x600, 5))));
}

#[test]
fn extended_fields_come_first_and_pm1b_has_a_type_of_its_own() {
    let mut content = Content::old();
    content.revision = 2;
    content.aml = b"\x08\\_S5_\x12\x06\x02\x0a\x05\x0a\x06".to_vec();
    content.fadt_fields.push((68, vec![0x44, 5, 0, 0]));
    let pm1b = Some(register(0x544, 6));
    assert_eq!(platform(&content).power_off, Some(PowerOff::Pm1Control(register(0x604, 5), pm1b)));
    // QEMU's Q35 has a table of this length.
    (content.fadt_revision, content.fadt_len) = (3, 244);
    content.fadt_fields.push((172, port(0x704)));
    content.fadt_fields.push((184, port(0x744)));
    let pm1b = Some(register(0x744, 6));
    assert_eq!(platform(&content).power_off, Some(PowerOff::Pm1Control(register(0x704, 5), pm1b)));
    // In revision 1, they do not exist.
    content.fadt_revision = 1;
    let pm1b = Some(register(0x544, 6));
    assert_eq!(platform(&content).power_off, Some(PowerOff::Pm1Control(register(0x604, 5), pm1b)));
}

#[test]
fn fields_beyond_a_short_fadt_are_not_read() {
    // The crate would take the sleep control register, and the DSDT's address, from what follows the table.
    let mut content = Content::reduced();
    content.fadt_fields.pop();
    for (revision, len) in [(3, 244), (2, 116), (6, 247), (6, 275)] {
        (content.fadt_revision, content.fadt_len) = (revision, len);
        assert_eq!(platform(&content).power_off, None, "revision {revision} of {len} bytes");
    }
    let mut content = Content::old();
    content.fadt_revision = 6;
    assert_eq!(platform(&content).power_off, platform(&Content::old()).power_off);
}

#[test]
fn a_fadt_longer_than_the_structure_is_read() {
    let mut content = Content::reduced();
    content.fadt_len = 300;
    assert_eq!(platform(&content), platform(&Content::reduced()));
}

#[test]
fn only_ports_power_off() {
    let with = |offset: usize, value: &[u8]| {
        let mut content = if offset >= 244 { Content::reduced() } else { Content::old() };
        if offset < 244 {
            (content.fadt_revision, content.fadt_len) = (6, 276);
        }
        content.fadt_fields.push((offset, value.to_vec()));
        platform(&content).power_off
    };
    assert!(with(244, &port(0x700)).is_some());
    for wrong in
        [[0, 8, 0, 1, 0, 6, 0, 0], [1, 8, 0, 1, 0, 0, 1, 0], [1, 8, 0, 1, 0, 0, 0, 0], [0x0b; 8], [1; 8]]
    {
        for offset in [244, 172, 184] {
            // An extended field of zero is as if it was not there.
            if offset == 244 || wrong[4..] != [0; 4] {
                assert_eq!(with(offset, &wrong), None, "{wrong:?} at {offset}");
            }
        }
    }
    assert_eq!(with(64, &[0; 4]), None);
    assert_eq!(with(64, &[4, 6, 1, 0]), None);
}

#[test]
fn without_sleep_types_there_is_no_power_off_and_no_error() {
    let mut content = Content::old();
    content.aml = b"\x08_S4_\x12\x06\x04\0\0\0\0".to_vec();
    assert_eq!(platform(&content).power_off, None);
    content.aml.clear();
    assert_eq!(platform(&content).power_off, None);
}

#[test]
fn all_processors_count_and_the_first_are_listed() {
    let mut content = Content::reduced();
    let entries = (0..100).map(|id| x2apic(id, 1)).chain([local_apic(255, 1).to_vec(), x2apic(u32::MAX, 1)]);
    // A type that nobody knows, and no more than its header.
    content.madt_entries = entries.chain([vec![0x80, 2]]).collect::<Vec<_>>().concat();
    let processors = platform(&content).processors;
    assert_eq!(processors.enabled(), 100);
    assert!(processors.apic_ids().iter().copied().eq(0..madt::APIC_IDS_MAX as u32));
    content.madt_entries.clear();
    assert_eq!(platform(&content).processors.apic_ids(), []);
}

#[test]
fn an_rsdp_without_an_xsdt_has_an_rsdt() {
    let mut tables = Content::old().build();
    let rsdp = [&tables.memory.at(tables.rsdp)[..20], &36u32.to_le_bytes(), &[0; 12]].concat();
    tables.memory.bytes.truncate((tables.rsdp - START) as usize);
    tables.memory.bytes.extend(rsdp);
    tables.change(tables.rsdp, 15, &[2]);
    assert!(read(&tables.memory, Some(tables.rsdp)).unwrap().is_some());
}

#[test]
#[cfg_attr(miri, ignore = "takes many minutes, and the crate has no part in it")]
fn the_rsdp_is_found_where_firmware_puts_it() {
    // Low memory of a PC, where a real RSDP is told from a false one by its checksum.
    let tables = Content::old().build();
    let mut memory = Memory::new(0, vec![0; 0x10_0000]);
    assert_eq!(read(&memory, None), Ok(None));
    let real = tables.memory.bytes[(tables.rsdp - START) as usize..].to_vec();
    let wrong = [&real[..19], &[0]].concat();
    memory.put(0xe_0000, &wrong);
    memory.put(0xe_1008, &real);
    assert_eq!(rsdp::search(&memory), None);
    memory.put(0xf_ffe0, &real);
    assert_eq!(rsdp::search(&memory), Some(0xf_ffe0));
    memory.bytes.truncate(0xf_0000);
    assert_eq!(rsdp::search(&memory), None, "no BIOS area");
}

#[test]
fn a_machine_without_tables_has_no_acpi() {
    assert_eq!(read(&Memory::new(0, vec![]), None), Ok(None));
}

/// The error after a change; `tables` are those of `Content::reduced`.
fn after(change: impl FnOnce(&mut Tables)) -> E {
    let mut tables = Content::reduced().build();
    change(&mut tables);
    read(&tables.memory, Some(tables.rsdp)).unwrap_err()
}

#[test]
fn what_is_wrong_with_the_rsdp_is_said() {
    let Tables { rsdp: address, .. } = Content::reduced().build();
    let (table, far) = (TableName::RSDP, 0x1_0000_0000);
    let memory = Content::reduced().build().memory;
    assert_eq!(read(&memory, Some(far)), Err(E::Unreadable { table, address: far, len_bytes: 20 }));
    let cut = after(|tables| tables.memory.bytes.truncate((address - START) as usize + 35));
    assert_eq!(cut, E::Unreadable { table, address, len_bytes: 36 });
    assert_eq!(after(|tables| tables.change(address, 0, b"RSD PTX ")), E::NotThere { table, address });
    assert_eq!(after(|tables| tables.memory.put(address + 9, b"N")), E::Checksum { table, address });
    // Bytes that only the second checksum covers.
    assert_eq!(after(|tables| tables.memory.put(address + 33, b"N")), E::Checksum { table, address });
    let length = |len_bytes: u32| after(|tables| tables.change(address, 20, &len_bytes.to_le_bytes()));
    for len_bytes in [0, 20, 35, 0x10_0001, u32::MAX] {
        assert_eq!(length(len_bytes), E::Length { table, address, len_bytes, min: 36, max: 1 << 20 });
    }
    assert_eq!(length(0x10_0000), E::Unreadable { table, address, len_bytes: 0x10_0000 });
}

#[test]
fn what_is_wrong_with_the_list_is_said() {
    let Tables { root: address, madt, .. } = Content::reduced().build();
    let list = TableName::XSDT;
    let point_to = |to: u64| after(|tables| tables.change(tables.rsdp, 24, &to.to_le_bytes()));
    assert_eq!(point_to(8), E::Unreadable { table: list, address: 8, len_bytes: 36 });
    let last = u64::MAX - 3;
    assert_eq!(point_to(last), E::Unreadable { table: list, address: last, len_bytes: 36 });
    assert_eq!(point_to(madt), E::NotThere { table: list, address: madt });
    // Without an XSDT it is the RSDT, which is not there either.
    assert_eq!(point_to(0), E::Unreadable { table: TableName::RSDT, address: 0, len_bytes: 36 });
    let cut = after(|tables| tables.change(address, 4, &67u32.to_le_bytes()));
    assert_eq!(cut, E::CutList { list, address, len_bytes: 67 });
    let entry = after(|tables| tables.change(address, 36, &9u64.to_le_bytes()));
    assert_eq!(entry, E::ListedUnreadable { list, index: 0, address: 9 });
    let long = after(|tables| {
        tables.memory.bytes.extend(test_tables::table(b"XSDT", 1, &[0; 257 * 8]));
        tables.change(tables.rsdp, 24, &(tables.rsdp + 36).to_le_bytes());
    });
    let Tables { rsdp, .. } = Content::reduced().build();
    assert_eq!(long, E::TooManyTables { list, address: rsdp + 36, tables: 257, max: 256 });
    for (table, index) in [(TableName::FADT, 2), (TableName::MADT, 3)] {
        let missing = after(|tables| tables.change(address, 36 + 8 * index, &[0; 8]));
        assert_eq!(missing, E::Missing { table });
    }
}

#[test]
fn what_is_wrong_with_a_table_is_said() {
    let Tables { root, madt, fadt, dsdt, .. } = Content::reduced().build();
    for (table, address, min) in [
        (TableName::XSDT, root, 36),
        (TableName::MADT, madt, 44),
        (TableName::FADT, fadt, 116),
        (TableName::DSDT, dsdt, 36),
    ] {
        let length = |len_bytes: u32| after(|tables| tables.change(address, 4, &len_bytes.to_le_bytes()));
        for len_bytes in [0, 1, 35, min - 1, 0x10_0001, u32::MAX] {
            assert_eq!(length(len_bytes), E::Length { table, address, len_bytes, min, max: 1 << 20 });
        }
        assert_eq!(length(0xffff), E::Unreadable { table, address, len_bytes: 0xffff });
        assert_eq!(after(|tables| tables.memory.put(address + 28, b"X")), E::Checksum { table, address });
        for offset in [10, 15, 16, 23] {
            assert_eq!(
                after(|tables| tables.change(address, offset, &[0xff])),
                E::NotUtf8 { table, address }
            );
        }
    }
    let missing = after(|tables| tables.change(fadt, 40, &[0; 4]));
    assert_eq!(missing, E::Missing { table: TableName::DSDT });
    let elsewhere = after(|tables| tables.change(fadt, 140, &madt.to_le_bytes()));
    assert_eq!(elsewhere, E::NotThere { table: TableName::DSDT, address: madt });
}

#[test]
fn entries_that_the_crate_can_not_read_are_refused() {
    let with = |entries: &[u8]| {
        let mut content = Content::old();
        content.madt_entries = entries.to_vec();
        let tables = content.build();
        (read(&tables.memory, Some(tables.rsdp)), tables.madt + 44)
    };
    let none = |kind| vec![kind, 0, 0, 0];
    let cut = |kind| vec![kind];
    let too_long = |kind| [&[kind, 101], &[0; 98][..]].concat();
    for (kind, min) in
        [(0, 8), (1, 12), (5, 12), (7, 17), (9, 16), (0xb, 82), (0x10, 16), (0x11, 2), (0xff, 2)]
    {
        let too_short = [&[kind, min as u8 - 1], &[0; 100][..]].concat();
        for entries in [none(kind), cut(kind), too_long(kind), too_short] {
            let (result, address) = with(&entries);
            let len_bytes = entries.get(1).copied().unwrap_or(0);
            assert_eq!(result, Err(E::MadtEntry { address, kind, len_bytes, min, max: entries.len() }));
        }
    }
    let (result, address) = with(&[&local_apic(0, 1)[..], &local_apic(1, 1)[..7]].concat());
    assert_eq!(result, Err(E::MadtEntry { address: address + 8, kind: 0, len_bytes: 8, min: 8, max: 7 }));
}

#[test]
fn a_length_of_pm1_registers_that_overflows_is_refused() {
    let mut content = Content::old();
    content.fadt_fields.push((89, vec![32]));
    let tables = content.build();
    let error = E::Pm1ControlLength { address: tables.fadt, len_bytes: 32 };
    assert_eq!(read(&tables.memory, Some(tables.rsdp)), Err(error));
    // A hardware-reduced machine has no such registers.
    let mut content = Content::reduced();
    content.fadt_fields.push((89, vec![255]));
    assert_eq!(platform(&content), platform(&Content::reduced()));
}

#[test]
fn tables_that_nobody_reads_may_be_wrong() {
    let mut tables = Content::reduced().build();
    let other = u64::from_le_bytes(tables.memory.at(tables.root + 36)[..8].try_into().unwrap());
    tables.memory.put(other, b"\xff\xff\xff\xff\xff\xff\xff\xff");
    assert!(read(&tables.memory, Some(tables.rsdp)).is_ok());
}

#[test]
fn errors_name_table_and_address() {
    let error = E::Length { table: TableName::MADT, address: 0x1234, len_bytes: 7, min: 44, max: 1 << 20 };
    assert_eq!(
        error.to_string(),
        "ACPI tables are wrong, the VMM has to mend them: APIC at 0x1234 is 7 bytes long, not 44 to 1048576"
    );
}
