//! What a firmware configuration device hands out: items with keys, and a directory of those that are files.

use crate::boot::start::Disk;
use guest_interface::fw_cfg::{
    DIRECTORY_ENTRY_LEN, DIRECTORY_NAME_AT, FEATURE_DMA, FEATURE_TRADITIONAL, KEY_FEATURES,
    KEY_FILE_DIRECTORY, KEY_FIRST_FILE, KEY_SIGNATURE, SIGNATURE,
};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;

/// The bytes of an item.
#[derive(Debug)]
pub(crate) enum Item {
    /// These; never 4 GiB of them.
    Bytes(Vec<u8>),
    /// Those of a disk, which are read when the guest asks for them. Who else has its file may change it meanwhile.
    Disk(Disk),
}

impl Item {
    fn len_bytes(&self) -> u32 {
        match self {
            Self::Bytes(bytes) => u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            Self::Disk(disk) => disk.len_bytes,
        }
    }
}

/// All items of a machine.
#[derive(Debug)]
pub(crate) struct Items {
    items: BTreeMap<u16, Item>,
    /// The directory's entries.
    entries: Vec<[u8; DIRECTORY_ENTRY_LEN]>,
}

impl Items {
    /// Those that every machine has.
    pub(crate) fn new() -> Self {
        let mut items = Self { items: BTreeMap::new(), entries: Vec::new() };
        items.set(KEY_SIGNATURE, SIGNATURE.to_vec());
        items.set_number(KEY_FEATURES, FEATURE_TRADITIONAL | FEATURE_DMA);
        items.write_directory();
        items
    }

    /// Gives an item its bytes.
    pub(crate) fn set(&mut self, key: u16, bytes: Vec<u8>) {
        self.items.insert(key, Item::Bytes(bytes));
    }

    /// Makes an item a number.
    pub(crate) fn set_number(&mut self, key: u16, number: u32) {
        self.set(key, number.to_le_bytes().to_vec());
    }

    /// Adds a file under the next key. Its name has fewer than 56 bytes; there are fewer than 65,504 files.
    pub(crate) fn add_file(&mut self, name: &'static str, item: Item) {
        let key = KEY_FIRST_FILE + self.entries.len() as u16;
        let mut entry = [0; DIRECTORY_ENTRY_LEN];
        entry[..4].copy_from_slice(&item.len_bytes().to_be_bytes());
        entry[4..6].copy_from_slice(&key.to_be_bytes());
        entry[DIRECTORY_NAME_AT..][..name.len()].copy_from_slice(name.as_bytes());
        self.entries.push(entry);
        self.items.insert(key, item);
        self.write_directory();
    }

    fn write_directory(&mut self) {
        let count = (self.entries.len() as u32).to_be_bytes();
        self.set(KEY_FILE_DIRECTORY, [&count, self.entries.as_flattened()].concat());
    }

    /// The length of an item in bytes; 0 of one that there is not.
    pub(crate) fn len_bytes(&self, key: u16) -> u32 {
        self.items.get(&key).map_or(0, Item::len_bytes)
    }

    /// Fills `to` with the bytes of an item from `offset` on. Behind the item's end, and of one that there is not, they are 0.
    ///
    /// # Errors
    /// What the system says of a file, or that it has become shorter.
    pub(crate) fn read(&self, key: u16, offset: u32, to: &mut [u8]) -> io::Result<()> {
        let left = self.len_bytes(key).saturating_sub(offset) as usize;
        let (bytes, behind) = to.split_at_mut(left.min(to.len()));
        behind.fill(0);
        match self.items.get(&key) {
            Some(Item::Bytes(content)) if !bytes.is_empty() => {
                bytes.copy_from_slice(&content[offset as usize..][..bytes.len()]);
            }
            Some(Item::Disk(disk)) if !bytes.is_empty() => disk.file.read_exact_at(bytes, offset.into())?,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::fs::File;
    use std::sync::Arc;

    fn disk(bytes: &[u8], len_bytes: u32) -> Item {
        let file = File::from(memfd_create(c"item", MFdFlags::MFD_CLOEXEC).unwrap());
        file.write_all_at(bytes, 0).unwrap();
        Item::Disk(Disk { file: Arc::new(file), len_bytes })
    }

    fn read(items: &Items, key: u16, offset: u32, len: usize) -> Vec<u8> {
        let mut bytes = vec![0xa5; len];
        items.read(key, offset, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_machine_has_signature_features_and_a_directory() {
        let items = Items::new();
        assert_eq!(read(&items, 0, 0, 4), b"QEMU");
        assert_eq!(read(&items, 1, 0, 4), [3, 0, 0, 0]);
        assert_eq!((read(&items, 0x19, 0, 4), items.len_bytes(0x19)), (vec![0; 4], 4));
    }

    #[test]
    fn files_are_in_the_directory() {
        let mut items = Items::new();
        items.add_file("etc/first", Item::Bytes(vec![1; 0x1_0203]));
        items.add_file("opt/second", disk(b"content", 7));
        assert_eq!(items.len_bytes(0x19), 4 + 2 * 64);
        let mut expected = vec![0, 0, 0, 2, 0, 1, 2, 3, 0, 0x20, 0, 0];
        expected.extend(b"etc/first");
        expected.resize(4 + 64, 0);
        expected.extend([0, 0, 0, 7, 0, 0x21, 0, 0]);
        expected.extend(b"opt/second");
        expected.resize(4 + 128, 0);
        assert_eq!(read(&items, 0x19, 0, 4 + 128), expected);
    }

    #[test]
    fn behind_the_end_there_are_zeros() {
        let mut items = Items::new();
        items.set(0x15, b"0123456".to_vec());
        items.add_file("f", disk(b"0123456 and more", 7));
        for key in [0x15, 0x20] {
            assert_eq!(read(&items, key, 0, 9), b"0123456\0\0");
            assert_eq!(read(&items, key, 5, 2), b"56");
            for offset in [7, 8, u32::MAX] {
                assert_eq!(read(&items, key, offset, 3), [0; 3]);
            }
        }
        for key in [2, 0x21, 0x8000, 0xffff] {
            assert_eq!((read(&items, key, 0, 3), items.len_bytes(key)), (vec![0; 3], 0));
        }
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let mut items = Items::new();
        items.add_file("f", disk(b"01234", 7));
        assert_eq!(read(&items, 0x20, 0, 5), b"01234");
        items.read(0x20, 0, &mut [0; 6]).unwrap_err();
        items.read(0x20, 6, &mut [0; 1]).unwrap_err();
    }
}
