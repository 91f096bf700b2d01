//! First page tables for hosts whose guests start in 64-bit mode: the first GiB one to one, in 2 MiB leaves. They need
//! to last only until the kernel has its own.

use guest_interface::layout::{BOOT_PAGE_TABLES, PAGE_LEN};

/// Entry bits (Intel SDM volume 3, 5.5.4): present, writable, user; and for leaves above 4 KiB, page size. Level 3
/// guests need the user bit at every level.
const TABLE: u64 = 0b111;
const HUGE_LEAF: u64 = TABLE | 1 << 7;
const HUGE_PAGE_LEN: u64 = 2 << 20;
const ENTRIES: u64 = 512;
const TABLE_LEN: usize = PAGE_LEN as usize;

/// Length of PML4, PDPT and page directory together, in bytes.
pub(crate) const LEN: usize = 3 * TABLE_LEN;

/// The tables as they lie at [`BOOT_PAGE_TABLES`], where CR3 points.
pub(crate) fn build() -> Vec<u8> {
    let mut bytes = vec![0; LEN];
    let pdpt = BOOT_PAGE_TABLES + PAGE_LEN;
    let directory = pdpt + PAGE_LEN;
    bytes[..8].copy_from_slice(&(pdpt | TABLE).to_le_bytes());
    bytes[TABLE_LEN..TABLE_LEN + 8].copy_from_slice(&(directory | TABLE).to_le_bytes());
    for (index, entry) in (0..ENTRIES).zip(bytes[2 * TABLE_LEN..].chunks_exact_mut(8)) {
        entry.copy_from_slice(&((index * HUGE_PAGE_LEN) | HUGE_LEAF).to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::layout::{COMMAND_LINE, HOST_INFORMATION};

    fn entry(tables: &[u8], table: u64, index: u64) -> u64 {
        let offset = (table - BOOT_PAGE_TABLES + index * 8) as usize;
        u64::from_le_bytes(tables[offset..offset + 8].try_into().unwrap())
    }

    /// Walks the tables as the processor does, for leaves of 2 MiB.
    fn translate(tables: &[u8], address: u64) -> Option<u64> {
        let mut table = BOOT_PAGE_TABLES;
        for shift in [39, 30, 21] {
            let entry = entry(tables, table, (address >> shift) % ENTRIES);
            assert!(entry == 0 || entry & TABLE == TABLE, "present, writable and user at every level");
            if entry & 1 == 0 {
                return None;
            }
            table = entry & !0xfff;
        }
        Some(table + address % HUGE_PAGE_LEN)
    }

    #[test]
    fn the_first_gib_is_mapped_one_to_one_and_nothing_else() {
        let tables = build();
        for address in [0, 0x6000, 0x20_0000, 0x1234_5678, (1 << 30) - 1] {
            assert_eq!(translate(&tables, address), Some(address));
        }
        for address in [1 << 30, 1 << 39, 1 << 47] {
            assert_eq!(translate(&tables, address), None);
        }
    }

    #[test]
    fn the_tables_fit_between_their_neighbours() {
        const { assert!(BOOT_PAGE_TABLES.is_multiple_of(PAGE_LEN) && HOST_INFORMATION < BOOT_PAGE_TABLES) };
        const { assert!(BOOT_PAGE_TABLES + LEN as u64 <= COMMAND_LINE) };
    }
}
