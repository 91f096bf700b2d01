//! Where a disk has its EFI system partition.

use gpt::{GptConfig, partition_types};
use std::io::Cursor;
use std::ops::Range;

/// The blocks of a disk's EFI system partition, if the partition table can be read and has one.
#[must_use]
pub fn efi_partition(disk: &[u8]) -> Option<Range<u64>> {
    let table = GptConfig::new().open_from_device(Cursor::new(disk.to_vec())).ok()?;
    let efi = table.partitions().values().find(|it| it.part_type_guid == partition_types::EFI)?;
    let end = efi.last_lba.checked_add(1)?;
    (efi.first_lba < end).then_some(efi.first_lba..end)
}
