//! Tables with random changes: whatever they say, reading them ends, and neither panics nor reads beyond what is there.
//! Run under Miri, this shows also that the crate does nothing undefined with them.

use super::test_tables::{Content, START, Tables};
use super::*;
use alloc::collections::BTreeSet;
use core::mem::discriminant;

/// Xorshift, so that a failure comes again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A byte, often one at an edge of what is right.
    fn byte(&mut self) -> u8 {
        match self.below(12) {
            edge @ 0..8 => [0, 1, 2, 8, 35, 36, 0x80, 0xff][edge],
            _ => self.next() as u8,
        }
    }
}

/// Changes a few bytes of some table, or where memory ends.
fn mutate(tables: &mut Tables, random: &mut Random) {
    let Tables { rsdp, root, madt, fadt, dsdt, .. } = *tables;
    for _ in 0..=random.below(4) {
        let table = [rsdp, root, madt, fadt, dsdt][random.below(5)];
        let place = random.below(tables.memory.at(table).len().min(320));
        tables.memory.at(table)[place] = random.byte();
    }
    // With wrong checksums nothing would come as far as the crate.
    if random.below(8) != 0 {
        for table in [root, madt, fadt, dsdt] {
            tables.seal(table);
        }
        tables.seal_rsdp();
    }
    if random.below(8) == 0 {
        let len = random.below(tables.memory.bytes.len());
        tables.memory.bytes.truncate(len);
    }
}

#[test]
fn random_changes_do_no_harm() {
    let rounds = if cfg!(miri) { 150 } else { 50_000 };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut long = Content::reduced();
    long.fadt_len = 300;
    let mut medium = Content::old();
    (medium.revision, medium.fadt_revision, medium.fadt_len) = (2, 3, 244);
    let contents = [Content::old(), Content::reduced(), long, medium];
    let (mut good, mut with_power_off, mut errors) = (0, 0, BTreeSet::new());
    for _ in 0..rounds {
        let mut tables = contents[random.below(contents.len())].build();
        mutate(&mut tables, &mut random);
        match read(&tables.memory, Some(tables.rsdp)) {
            Ok(platform) => {
                good += 1;
                with_power_off += u32::from(platform.is_some_and(|platform| platform.power_off.is_some()));
            }
            Err(error) => {
                errors.insert(alloc::format!("{:?}", discriminant(&error)));
            }
        }
    }
    // What the changes are for: many tables are read to their end, and each check refuses some.
    assert!(
        good > rounds / 10 && with_power_off > rounds / 20,
        "{good} good, {with_power_off} with power-off"
    );
    if !cfg!(miri) {
        // All but lists that are too long, which take more than a few bytes, and the crate's own refusals.
        assert_eq!(errors.len(), 10, "{errors:?}");
    }
}

#[test]
fn random_bytes_are_no_sleep_types_beyond_three_bits() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..if cfg!(miri) { 100 } else { 50_000 } {
        let mut aml = Content::reduced().aml;
        aml.extend([0; 8]);
        for _ in 0..=random.below(3) {
            // The name stays, or nothing would be found.
            let place = 5 + random.below(aml.len() - 5);
            aml[place] = random.byte();
        }
        aml.truncate(aml.len() - random.below(12));
        if let Some(types) = sleep_type::soft_off(&aml) {
            assert!(types.a < 8 && types.b < 8, "{aml:x?}");
        }
    }
}

#[test]
fn memory_that_ends_anywhere_is_no_harm() {
    for content in [Content::old(), Content::reduced()] {
        let whole = content.build();
        let len = whole.memory.bytes.len();
        let step = if cfg!(miri) { 97 } else { 1 };
        for end in (0..len).step_by(step) {
            let mut tables = content.build();
            tables.memory.bytes.truncate(end);
            assert!(read(&tables.memory, Some(tables.rsdp)).is_err(), "memory of {end} bytes");
            // And memory that begins there.
            let mut tables = content.build();
            tables.memory.bytes.drain(..end);
            tables.memory.start = START + end as u64;
            let result = read(&tables.memory, Some(tables.rsdp));
            assert_eq!(result.is_ok(), end == 0, "memory from byte {end} on");
        }
    }
}
