//! How much host memory this process uses, for the guest and beyond it.
//!
//! The kernel keeps only one high-water mark, of both together. Guest memory never shrinks while a machine runs, so what
//! of it is resident at the end was also its peak, and the difference is the peak of the VMM itself. Not in it: memory
//! the kernel uses on our behalf (page tables, KVM's own).

use crate::memory::GuestMemory;
use std::ops::Range;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

/// Host memory in use, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resident {
    /// Guest memory that is backed by host memory.
    pub(crate) guest_kib: u64,
    /// Peak of everything else: code, stacks, heap.
    pub(crate) vmm_peak_kib: u64,
}

/// Measures this process; `None` if `/proc` can't be read.
pub(crate) fn measure(memory: &GuestMemory) -> Option<Resident> {
    // The peak first: reading the long map list below takes memory itself.
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak_kib = field_kib(&status, "VmHWM:")?;
    let ranges: Vec<Range<u64>> = memory
        .iter()
        .map(|region| {
            let start = region.as_ptr() as u64;
            start..start + region.len()
        })
        .collect();
    let smaps = std::fs::read_to_string("/proc/self/smaps").ok()?;
    let guest_kib = resident_within(&smaps, &ranges);
    Some(Resident { guest_kib, vmm_peak_kib: peak_kib.saturating_sub(guest_kib) })
}

/// The value of a line `name   123 kB`.
fn field_kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Sum of the resident KiB of all mappings in `smaps` (proc_pid_smaps(5)) that lie in one of the ranges. The kernel
/// merges adjacent mappings only if they are alike, and nothing else here is like guest memory in its advice.
fn resident_within(smaps: &str, ranges: &[Range<u64>]) -> u64 {
    let mut sum_kib: u64 = 0;
    let mut inside = false;
    for line in smaps.lines() {
        if let Some(mapping) = mapping_range(line) {
            inside = ranges.iter().any(|range| range.start < mapping.end && mapping.start < range.end);
        } else if inside && let Some(kib) = field_kib(line, "Rss:") {
            sum_kib = sum_kib.saturating_add(kib);
        }
    }
    sum_kib
}

/// The addresses of a mapping, if the line starts one: `55d0c0a00000-55d0c0a02000 r--p …`.
fn mapping_range(line: &str) -> Option<Range<u64>> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{backing, size::MemoryLen};
    use vm_memory::{Bytes, GuestAddress};

    const SMAPS: &str = "\
400000-401000 r-xp 00000000 fe:00 1234   /bin/vmm\nSize: 4 kB\nRss:                   4 kB\nVmFlags: rd ex\n\
7f0000000000-7f0000200000 rw-p 00000000 00:00 0 \nSize: 2048 kB\nRss:                2048 kB\nPss: 7 kB\n\
7f0040000000-7f0080000000 rw-p 00000000 00:00 0 \nRss:                  12 kB\n";

    #[test]
    fn only_mappings_of_guest_memory_count() {
        assert_eq!(resident_within(SMAPS, &[]), 0);
        assert_eq!(resident_within(SMAPS, std::slice::from_ref(&(0x7f00_0000_0000..0x7f00_0020_0000))), 2048);
        let both = [0x7f00_0000_0000..0x7f00_0020_0000, 0x7f00_4000_0000..0x7f00_8000_0000];
        assert_eq!(resident_within(SMAPS, &both), 2060);
    }

    #[test]
    fn touched_guest_memory_is_the_guests() {
        let memory = backing::map(MemoryLen::new(64 << 20).unwrap()).unwrap();
        let before = measure(&memory).unwrap();
        assert_eq!(before.guest_kib, 0);
        memory.write_slice(&[1; 4096], GuestAddress(0)).unwrap();
        let after = measure(&memory).unwrap();
        assert!(after.guest_kib >= 4, "{after:?}");
    }
}
