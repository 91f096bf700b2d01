//! How much host memory this process uses, for the guest and beyond it.
//!
//! The kernel keeps only one high-water mark, of both together. Guest memory never shrinks while a machine runs, so what
//! of it is resident at the end was also its peak, and the difference is the peak of the VMM itself. Not in it: memory
//! the kernel uses on our behalf (page tables, KVM's own). Pages of the hugetlb pool are in neither: the kernel counts
//! them apart.

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
    Some(Resident::new(peak_kib, Backed::within(&smaps, &ranges)))
}

/// The value of a line `name   123 kB`.
fn field_kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

impl Resident {
    fn new(peak_kib: u64, guest: Backed) -> Self {
        Self {
            guest_kib: guest.resident_kib.saturating_add(guest.hugetlb_kib),
            vmm_peak_kib: peak_kib.saturating_sub(guest.resident_kib),
        }
    }
}

/// Host memory behind some mappings, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Backed {
    /// Pages that count as resident.
    resident_kib: u64,
    /// Pages of the hugetlb pool, which don't.
    hugetlb_kib: u64,
}

impl Backed {
    /// Sums over all mappings in `smaps` (proc_pid_smaps(5)) that lie in one of the ranges. The kernel merges adjacent
    /// mappings only if they are alike, and nothing else here is like guest memory in its advice.
    fn within(smaps: &str, ranges: &[Range<u64>]) -> Self {
        let mut sum = Self::default();
        let mut inside = false;
        for line in smaps.lines() {
            if let Some(mapping) = mapping_range(line) {
                inside = ranges.iter().any(|range| range.start < mapping.end && mapping.start < range.end);
            } else if inside {
                for (name, sum_kib) in
                    [("Rss:", &mut sum.resident_kib), ("Private_Hugetlb:", &mut sum.hugetlb_kib)]
                {
                    *sum_kib = sum_kib.saturating_add(field_kib(line, name).unwrap_or(0));
                }
            }
        }
        sum
    }
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
        let backed = |ranges: &[Range<u64>]| Backed::within(SMAPS, ranges);
        let resident = |resident_kib| Backed { resident_kib, hugetlb_kib: 0 };
        assert_eq!(backed(&[]), resident(0));
        assert_eq!(backed(std::slice::from_ref(&(0x7f00_0000_0000..0x7f00_0020_0000))), resident(2048));
        assert_eq!(
            backed(&[0x7f00_0000_0000..0x7f00_0020_0000, 0x7f00_4000_0000..0x7f00_8000_0000]),
            resident(2060)
        );
    }

    #[test]
    fn pages_of_the_pool_are_the_guests_and_not_in_the_peak() {
        let smaps = "7f0000000000-7f0000800000 rw-p 00000000 00:0f 1 /anon_hugepage (deleted)\nRss: 0 kB\n\
                     AnonHugePages: 0 kB\nShared_Hugetlb:        0 kB\nPrivate_Hugetlb:    8192 kB\n";
        let guest = Backed::within(smaps, std::slice::from_ref(&(0x7f00_0000_0000..0x7f00_0080_0000)));
        assert_eq!(Resident::new(1500, guest), Resident { guest_kib: 8192, vmm_peak_kib: 1500 });
        let touched = Backed { resident_kib: 1000, hugetlb_kib: 0 };
        assert_eq!(Resident::new(1500, touched), Resident { guest_kib: 1000, vmm_peak_kib: 500 });
    }

    #[test]
    fn touched_guest_memory_is_the_guests() {
        let memory = backing::map(MemoryLen::new(64 << 20).unwrap(), None, || Ok(())).unwrap();
        let before = measure(&memory).unwrap();
        assert_eq!(before.guest_kib, 0);
        memory.write_slice(&[1; 4096], GuestAddress(0)).unwrap();
        let after = measure(&memory).unwrap();
        assert!(after.guest_kib >= 4, "{after:?}");
    }
}
