//! Whether the host has the memory that a guest may come to use.

use crate::error::Error;
use crate::memory::size::MemoryLen;
use std::fs::File;
use std::io::Read;

/// Refuses a machine with more RAM than the host can give at this moment without swapping. Guest memory is backed on
/// first touch, so without this check it would be the host's out-of-memory killer that answers, in the middle of a run.
///
/// # Errors
/// [`Error::HostMemory`] with both sizes. A host that does not say what it has is not refused.
pub(crate) fn check(memory: MemoryLen) -> Result<(), Error> {
    match read_available() {
        Some(available) if available < memory.bytes() => {
            Err(Error::HostMemory { wanted: memory.bytes(), available })
        }
        _ => Ok(()),
    }
}

/// Reads only the start of the file, where the line is.
fn read_available() -> Option<u64> {
    let mut text = [0; 1024];
    let len = File::open("/proc/meminfo").ok()?.read(&mut text).ok()?;
    parse(&String::from_utf8_lossy(text.get(..len)?))
}

/// `MemAvailable` of `/proc/meminfo` (proc_meminfo(5)) in bytes.
fn parse(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_available_memory_is_read_in_bytes() {
        let text =
            "MemTotal:       24683928 kB\nMemFree:        1 kB\nMemAvailable:   24312012 kB\nBuffers: 2 kB\n";
        assert_eq!(parse(text), Some(24_312_012 * 1024));
    }

    #[test]
    fn this_kernel_says_what_it_has() {
        assert!(read_available().unwrap() > 1 << 20);
    }

    #[test]
    fn another_kernels_format_is_no_answer() {
        for text in [
            "",
            "MemAvailable:",
            "MemAvailable: x kB",
            "MemAvailable: 5 MB",
            "MemAvailable: 99999999999999999999 kB",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
