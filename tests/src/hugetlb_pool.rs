//! The host's pool of 2 MiB pages, for tests that need it to be larger, or to stay as it is.

use std::fs::{self, File};
use std::io;

/// What the kernel tells of the pool, a number a file.
const FOLDER: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";

/// The file that tells and sets the pool's size.
pub const SIZE_FILE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

/// The pool, locked against all others who go through this type, in this process and others. It gets its size back when
/// this value is dropped.
#[derive(Debug)]
pub struct HugetlbPool {
    /// The lock is the file's, and ends with it.
    _lock: File,
    total_before: u64,
}

impl HugetlbPool {
    /// Waits for the lock.
    ///
    /// # Errors
    /// If the host has no such pool.
    pub fn lock() -> io::Result<Self> {
        let lock = File::open(SIZE_FILE)?;
        lock.lock()?;
        Ok(Self { _lock: lock, total_before: number("nr_hugepages")? })
    }

    /// Pages in all.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn total(&self) -> io::Result<u64> {
        number("nr_hugepages")
    }

    /// Pages that nobody has taken or reserved.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn free(&self) -> io::Result<u64> {
        Ok(number("free_hugepages")?.saturating_sub(number("resv_hugepages")?))
    }

    /// Pages that the kernel may add by itself.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn addable(&self) -> io::Result<u64> {
        Ok(number("nr_overcommit_hugepages")?.saturating_sub(number("surplus_hugepages")?))
    }

    /// Makes the pool larger, if need be, until so many pages are free.
    ///
    /// # Errors
    /// If it may not be, or the host has no memory for it.
    pub fn provide(&self, pages: u64) -> io::Result<()> {
        let missing = pages.saturating_sub(self.free()?);
        if missing > 0 {
            fs::write(SIZE_FILE, (self.total()? + missing).to_string())?;
        }
        match self.free()? {
            free if free < pages => {
                Err(io::Error::other(format!("the kernel found memory for {free} of {pages} pages")))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for HugetlbPool {
    fn drop(&mut self) {
        if self.total().is_ok_and(|total| total != self.total_before) {
            // Whoever could make it larger can make it smaller.
            let _ = fs::write(SIZE_FILE, self.total_before.to_string());
        }
    }
}

fn number(name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(format!("{FOLDER}/{name}"))?;
    text.trim().parse().map_err(io::Error::other)
}
