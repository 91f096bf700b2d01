//! The first root file system of Linux: an archive in cpio's "newc" format (Documentation/driver-api/early-userspace/
//! buffer-format.rst of Linux), uncompressed, which every kernel takes.

use crate::error::Error;
use cpio::newc::Builder;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An archive that grows.
pub(crate) struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
}

impl Initramfs {
    /// An archive with these folders, each behind the one that it is in.
    ///
    /// # Errors
    /// [`Error::File`] for a name that the format does not hold.
    pub(crate) fn with_folders(folders: &[&str]) -> Result<Self, Error> {
        let mut archive = Self { bytes: Vec::new(), entries: 0 };
        for folder in folders {
            archive.append(folder, FOLDER, &[]).map_err(Error::file(*folder, "archived"))?;
        }
        Ok(archive)
    }

    /// Adds a file with these contents, which may be run.
    ///
    /// # Errors
    /// [`Error::File`] for a name or a length that the format does not hold.
    pub(crate) fn add(&mut self, name: &str, contents: &[u8]) -> Result<(), Error> {
        self.append(name, PROGRAM, contents).map_err(Error::file(name, "archived"))
    }

    /// Adds a copy of a file.
    ///
    /// # Errors
    /// [`Error::File`] if it can't be read, or does not fit.
    pub(crate) fn add_copy(&mut self, name: &str, of: &Path) -> Result<(), Error> {
        self.add(name, &fs::read(of).map_err(Error::file(of, "read"))?)
    }

    /// Ends the archive and writes it to a file.
    ///
    /// # Errors
    /// [`Error::File`] if it can't be written.
    pub(crate) fn write(self, to: &Path) -> Result<(), Error> {
        let archive = cpio::newc::trailer(self.bytes).map_err(Error::file(to, "archived"))?;
        fs::write(to, archive).map_err(Error::file(to, "written"))
    }

    fn append(&mut self, name: &str, mode: u32, contents: &[u8]) -> io::Result<()> {
        let len = u32::try_from(contents.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        // Entries of one number would be links to one file.
        self.entries += 1;
        let entry = Builder::new(name).ino(self.entries).mode(mode).nlink(1);
        let mut writer = entry.write(&mut self.bytes, len);
        writer.write_all(contents)?;
        writer.finish().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_was_added_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive");
        let mut archive = Initramfs::with_folders(&["bin"]).unwrap();
        archive.add("bin/empty", &[]).unwrap();
        archive.add("init", b"#!/bin/sh\n").unwrap();
        archive.write(&path).unwrap();

        let mut input = fs::File::open(&path).unwrap();
        let mut found = Vec::new();
        loop {
            let mut reader = cpio::newc::Reader::new(input).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let mut contents = Vec::new();
            reader.read_to_end(&mut contents).unwrap();
            let entry = reader.entry();
            found.push((entry.name().to_owned(), entry.ino(), entry.mode(), contents));
            input = reader.finish().unwrap();
        }
        let expected = [
            ("bin".to_owned(), 1, FOLDER, vec![]),
            ("bin/empty".to_owned(), 2, PROGRAM, vec![]),
            ("init".to_owned(), 3, PROGRAM, b"#!/bin/sh\n".to_vec()),
        ];
        assert_eq!(found, expected);
    }
}
