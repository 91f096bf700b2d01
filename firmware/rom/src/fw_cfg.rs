//! QEMU's firmware configuration device, by which a VMM hands items to the ROM (QEMU's docs/specs/fw_cfg): items with keys, and
//! a directory of those that have names.

use crate::failure::Failure;
use crate::low_memory::DIRECTORY_LEN;
use guest_interface::fw_cfg::{
    DIRECTORY_ENTRY_LEN, DIRECTORY_NAME_AT, FILE_COMMAND_LINE, FILE_DISK, FILE_HOST_INFORMATION,
    FILE_MEMORY_MAP, KEY_FILE_DIRECTORY, KEY_SIGNATURE, SIGNATURE,
};

/// The device reported an error, or did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferFailed;

impl From<TransferFailed> for Failure {
    fn from(_: TransferFailed) -> Self {
        Self::TransferFailed
    }
}

/// Read access to items. The trait is the seam for tests.
pub trait FwCfg {
    /// Fills `to` with the bytes of an item from `offset` on. Behind the item's end, and of an item that there is not, they
    /// are 0.
    ///
    /// # Errors
    /// [`TransferFailed`]; then `to` holds anything.
    fn read(&mut self, key: u16, offset: u32, to: &mut [u8]) -> Result<(), TransferFailed>;

    /// Reads an item that is a little-endian number.
    ///
    /// # Errors
    /// [`TransferFailed`].
    fn number(&mut self, key: u16) -> Result<u32, TransferFailed> {
        let mut bytes = [0; 4];
        self.read(key, 0, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
}

/// An item with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its key.
    pub key: u16,
    /// Its length in bytes, as the directory says.
    pub len: u32,
}

/// The files that the ROM reads, each if it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The memory map.
    pub memory_map: Option<File>,
    /// A command line that replaces the kernel's or image's own.
    pub command_line: Option<File>,
    /// A disk.
    pub disk: Option<File>,
    /// The record of the host information.
    pub host_information: Option<File>,
}

impl Files {
    /// Makes sure that the device is there, and reads its directory into the buffer. Of files with the same name, the first
    /// counts.
    ///
    /// # Errors
    /// [`Failure::NoFwCfg`], [`Failure::TransferFailed`], [`Failure::TooManyFiles`].
    pub fn read(fw_cfg: &mut impl FwCfg, directory: &mut [u8; DIRECTORY_LEN]) -> Result<Self, Failure> {
        let mut signature = [0; SIGNATURE.len()];
        let answered = fw_cfg.read(KEY_SIGNATURE, 0, &mut signature);
        if answered.is_err() || signature != SIGNATURE {
            return Err(Failure::NoFwCfg);
        }
        fw_cfg.read(KEY_FILE_DIRECTORY, 0, directory)?;
        Self::find(directory).ok_or(Failure::TooManyFiles)
    }

    fn find(directory: &[u8; DIRECTORY_LEN]) -> Option<Self> {
        let (count, entries) = directory.split_first_chunk()?;
        let (entries, _) = entries.as_chunks::<DIRECTORY_ENTRY_LEN>();
        let entries = entries.get(..u32::from_be_bytes(*count) as usize)?;
        let mut files = Self::default();
        for entry in entries {
            let name = &entry[DIRECTORY_NAME_AT..];
            let named = [
                (FILE_MEMORY_MAP, &mut files.memory_map),
                (FILE_COMMAND_LINE, &mut files.command_line),
                (FILE_DISK, &mut files.disk),
                (FILE_HOST_INFORMATION, &mut files.host_information),
            ];
            for (wanted, file) in named {
                let rest = name.strip_prefix(wanted.as_bytes());
                if rest.is_some_and(|rest| rest.first() == Some(&0)) {
                    file.get_or_insert(File {
                        len: u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]),
                        key: u16::from_be_bytes([entry[4], entry[5]]),
                    });
                }
            }
        }
        Some(files)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Items in memory.
    #[derive(Default)]
    pub(crate) struct Items {
        pub(crate) items: HashMap<u16, Vec<u8>>,
        names: Vec<(String, u16)>,
    }

    impl Items {
        pub(crate) fn new() -> Self {
            let mut items = Self::default();
            items.items.insert(KEY_SIGNATURE, SIGNATURE.to_vec());
            items
        }

        pub(crate) fn add(&mut self, name: &str, content: &[u8]) {
            let key = 0x20 + self.names.len() as u16;
            self.names.push((name.to_owned(), key));
            self.items.insert(key, content.to_vec());
            let mut directory = (self.names.len() as u32).to_be_bytes().to_vec();
            for (name, key) in &self.names {
                let len = self.items[key].len() as u32;
                directory.extend([&len.to_be_bytes()[..], &key.to_be_bytes(), &[0xaa; 2]].concat());
                directory.extend(name.bytes().chain(std::iter::repeat(0)).take(56));
            }
            self.items.insert(KEY_FILE_DIRECTORY, directory);
        }
    }

    impl FwCfg for Items {
        fn read(&mut self, key: u16, offset: u32, to: &mut [u8]) -> Result<(), TransferFailed> {
            let item = self.items.get(&key).map(Vec::as_slice).unwrap_or_default();
            let mut bytes = item.iter().skip(offset as usize);
            to.fill_with(|| bytes.next().copied().unwrap_or(0));
            Ok(())
        }
    }

    /// A device that reports errors for all but its signature.
    struct Failing;

    impl FwCfg for Failing {
        fn read(&mut self, key: u16, _: u32, to: &mut [u8]) -> Result<(), TransferFailed> {
            if key != KEY_SIGNATURE {
                return Err(TransferFailed);
            }
            to.copy_from_slice(&SIGNATURE);
            Ok(())
        }
    }

    fn files(fw_cfg: &mut impl FwCfg) -> Result<Files, Failure> {
        Files::read(fw_cfg, &mut [0xa5; DIRECTORY_LEN])
    }

    #[test]
    fn files_are_found_by_their_whole_names() {
        let mut items = Items::new();
        for name in ["etc/e82", "etc/e820x", "opt/freehold/disk2", "/opt/freehold/disk", ""] {
            items.add(name, &[]);
        }
        assert_eq!(files(&mut items), Ok(Files::default()));
        items.add(FILE_MEMORY_MAP, &[0; 20]);
        items.add(FILE_DISK, &[0; 7]);
        items.add(FILE_DISK, &[0; 8]);
        items.add(FILE_HOST_INFORMATION, &[0; 56]);
        items.add(FILE_COMMAND_LINE, &[]);
        let found = Files {
            memory_map: Some(File { key: 0x25, len: 20 }),
            disk: Some(File { key: 0x26, len: 7 }),
            host_information: Some(File { key: 0x28, len: 56 }),
            command_line: Some(File { key: 0x29, len: 0 }),
        };
        assert_eq!(files(&mut items), Ok(found));
    }

    #[test]
    fn a_name_that_fills_its_field_is_no_name_of_ours() {
        let mut items = Items::new();
        items.add(&"x".repeat(56), &[]);
        let directory = items.items.get_mut(&KEY_FILE_DIRECTORY).unwrap();
        let name = directory.last_chunk_mut::<56>().unwrap();
        *name = [b'e'; 56];
        name[..8].copy_from_slice(b"etc/e820");
        assert_eq!(files(&mut items), Ok(Files::default()));
    }

    #[test]
    fn a_directory_that_has_no_room_is_refused() {
        let mut items = Items::new();
        for _ in 0..127 {
            items.add("some file", &[]);
        }
        assert_eq!(files(&mut items), Ok(Files::default()));
        items.add(FILE_DISK, &[]);
        assert_eq!(files(&mut items), Err(Failure::TooManyFiles));
        for count in [0x8000_0000_u32, u32::MAX] {
            items.items.insert(KEY_FILE_DIRECTORY, count.to_be_bytes().to_vec());
            assert_eq!(files(&mut items), Err(Failure::TooManyFiles));
        }
    }

    #[test]
    fn no_device_is_told_from_one_that_fails() {
        assert_eq!(files(&mut Items::default()), Err(Failure::NoFwCfg));
        assert_eq!(files(&mut Failing), Err(Failure::TransferFailed));
        assert_eq!(files(&mut Items::new()), Ok(Files::default()), "no directory");
    }
}
