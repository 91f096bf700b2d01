//! QEMU's firmware configuration device, by which whoever starts a machine hands files to what runs in it. Its numbers and
//! forms are in [`guest_interface::fw_cfg`].
//!
//! What it says is bounded before it is followed. A machine without it reads ones at its ports, or zeros, and is not hurt by
//! what is written there.

use guest_interface::fw_cfg::{
    DIRECTORY_ENTRY_LEN, DIRECTORY_NAME_AT, KEY_FILE_DIRECTORY, KEY_SIGNATURE, SIGNATURE,
};

/// Most entries of the directory that are read; QEMU has some dozens.
const FILES_MAX: u32 = 1024;

/// The device's registers. The trait is the seam for tests.
pub(crate) trait Registers {
    /// Makes the item with this key the current one, and its first byte the next.
    fn select(&mut self, key: u16);

    /// Fills `bytes` with the next ones of the current item.
    fn read(&mut self, bytes: &mut [u8]);
}

/// The registers at their ports.
pub(crate) struct Ports;

impl Registers for Ports {
    fn select(&mut self, key: u16) {
        // SAFETY: the device only notes the key down; without it the port is nobody's.
        unsafe { x86::io::outw(guest_interface::fw_cfg::SELECTOR, key) };
    }

    /// By one instruction, because a KVM leaves the guest once for many of its steps.
    fn read(&mut self, bytes: &mut [u8]) {
        // SAFETY: writes exactly the bytes of the slice, upwards, as the ABI leaves the direction flag; reading the port moves on
        // in the item and does nothing else.
        unsafe {
            core::arch::asm!(
                "rep insb",
                in("dx") guest_interface::fw_cfg::DATA,
                inout("rdi") bytes.as_mut_ptr() => _,
                inout("rcx") bytes.len() => _,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// A file that the device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct File {
    key: u16,
    /// Its length in bytes, which may be any.
    pub(crate) len_bytes: u32,
}

/// A directory with more entries than are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyFiles {
    /// How many it says it has.
    pub(crate) files: u32,
    /// How many are read.
    pub(crate) max: u32,
}

/// The device.
pub(crate) struct FwCfg<R>(R);

impl<R: Registers> FwCfg<R> {
    /// The device, if this machine has one.
    pub(crate) fn find(mut registers: R) -> Option<Self> {
        let mut signature = [0; SIGNATURE.len()];
        registers.select(KEY_SIGNATURE);
        registers.read(&mut signature);
        (signature == SIGNATURE).then_some(Self(registers))
    }

    /// The first file of this name in the directory.
    ///
    /// # Errors
    /// [`TooManyFiles`] for a directory that is not searched.
    pub(crate) fn file(&mut self, name: &str) -> Result<Option<File>, TooManyFiles> {
        let mut files = [0; 4];
        self.0.select(KEY_FILE_DIRECTORY);
        self.0.read(&mut files);
        let files = u32::from_be_bytes(files);
        if files > FILES_MAX {
            return Err(TooManyFiles { files, max: FILES_MAX });
        }
        for _ in 0..files {
            let mut entry = [0; DIRECTORY_ENTRY_LEN];
            self.0.read(&mut entry);
            let its_name = entry[DIRECTORY_NAME_AT..].split(|&byte| byte == 0).next();
            if its_name == Some(name.as_bytes()) {
                let [l0, l1, l2, l3, k0, k1, ..] = entry;
                let (len_bytes, key) = (u32::from_be_bytes([l0, l1, l2, l3]), u16::from_be_bytes([k0, k1]));
                return Ok(Some(File { key, len_bytes }));
            }
        }
        Ok(None)
    }

    /// Fills `bytes` with the first ones of a file.
    pub(crate) fn read(&mut self, file: File, bytes: &mut [u8]) {
        self.0.select(file.key);
        self.0.read(bytes);
    }
}

/// A device of plain values, for tests.
#[cfg(test)]
pub(crate) mod simulated {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    const FIRST_FILE_KEY: u16 = 0x20;

    /// Items by their keys, and how many bytes may still be read before a test fails.
    pub(crate) struct Simulated {
        items: Vec<(u16, Vec<u8>)>,
        current: u16,
        offset: usize,
        pub(crate) bytes_left: usize,
    }

    impl Simulated {
        /// A device with these files.
        pub(crate) fn with_files(files: &[(&str, &[u8])]) -> Self {
            let mut directory = (files.len() as u32).to_be_bytes().to_vec();
            let mut items = vec![(KEY_SIGNATURE, SIGNATURE.to_vec())];
            for (key, (name, content)) in (FIRST_FILE_KEY..).zip(files) {
                directory.extend(entry(content.len() as u32, key, name));
                items.push((key, content.to_vec()));
            }
            items.push((KEY_FILE_DIRECTORY, directory));
            Self { items, current: 0, offset: 0, bytes_left: 1 << 20 }
        }

        /// A device with this directory, whatever it says.
        pub(crate) fn with_directory(directory: Vec<u8>) -> Self {
            let mut device = Self::with_files(&[]);
            device.items.retain(|(key, _)| *key != KEY_FILE_DIRECTORY);
            device.items.push((KEY_FILE_DIRECTORY, directory));
            device
        }
    }

    /// An entry of the directory.
    pub(crate) fn entry(len_bytes: u32, key: u16, name: &str) -> Vec<u8> {
        let mut entry = len_bytes.to_be_bytes().to_vec();
        entry.extend(key.to_be_bytes());
        entry.extend([0xee; 2]);
        entry.extend(name.as_bytes());
        entry.resize(DIRECTORY_ENTRY_LEN, 0);
        entry
    }

    impl Registers for Simulated {
        fn select(&mut self, key: u16) {
            (self.current, self.offset) = (key, 0);
        }

        /// Behind the end of an item, as where there is none, zeros.
        fn read(&mut self, bytes: &mut [u8]) {
            self.bytes_left = self.bytes_left.checked_sub(bytes.len()).expect("too many bytes were read");
            let item = self.items.iter().find(|(key, _)| *key == self.current);
            for byte in bytes {
                *byte = item.and_then(|(_, content)| content.get(self.offset)).copied().unwrap_or(0);
                self.offset += 1;
            }
        }
    }

    /// Ports at which nothing is.
    pub(crate) struct Absent(pub(crate) u8);

    impl Registers for Absent {
        fn select(&mut self, _: u16) {}

        fn read(&mut self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::simulated::{Absent, Simulated, entry};
    use super::*;
    use alloc::vec::Vec;

    fn found(device: Simulated, name: &str) -> Option<File> {
        FwCfg::find(device).expect("a device").file(name).expect("a directory")
    }

    #[test]
    fn a_file_is_found_by_its_whole_name_and_read_from_its_start() {
        let files: [(&str, &[u8]); 4] =
            [("opt/a", b"1"), ("opt/", b"22"), ("opt", b"from start"), ("opt", b"second")];
        let mut device = FwCfg::find(Simulated::with_files(&files)).expect("a device");
        let file = device.file("opt").expect("a directory").expect("a file");
        assert_eq!(file.len_bytes, 10);
        for _ in 0..2 {
            let mut bytes = [0; 12];
            device.read(file, &mut bytes);
            assert_eq!(&bytes, b"from start\0\0");
        }
        assert_eq!(device.file("op"), Ok(None));
        assert_eq!(device.file("opt/a/b"), Ok(None));
    }

    #[test]
    fn where_no_device_is_none_is_found() {
        for byte in [0, 0xff, b'Q'] {
            assert!(FwCfg::find(Absent(byte)).is_none(), "{byte:#x}");
        }
    }

    #[test]
    fn a_name_may_fill_its_field() {
        let name = "n".repeat(DIRECTORY_ENTRY_LEN - DIRECTORY_NAME_AT);
        let directory = || [1u32.to_be_bytes().to_vec(), entry(7, 0x1234, &name)].concat();
        let file = File { key: 0x1234, len_bytes: 7 };
        assert_eq!(found(Simulated::with_directory(directory()), &name), Some(file));
        assert_eq!(found(Simulated::with_directory(directory()), &name[1..]), None);
    }

    #[test]
    fn a_directory_that_lies_about_its_length_is_bounded() {
        for files in [FILES_MAX + 1, u32::MAX] {
            let mut device = Simulated::with_directory(files.to_be_bytes().to_vec());
            device.bytes_left = 8;
            let refused = FwCfg::find(device).expect("a device").file("opt");
            assert_eq!(refused, Err(TooManyFiles { files, max: FILES_MAX }));
        }
        // Fewer entries than it says: what is not there reads as zeros, which is nobody's name.
        let truncated: Vec<u8> = [FILES_MAX.to_be_bytes().to_vec(), entry(1, 2, "opt/a")].concat();
        assert_eq!(found(Simulated::with_directory(truncated), "opt"), None);
    }
}
