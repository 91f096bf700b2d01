//! Physical and virtual addresses as types of their own, so that one is never taken for the other.

use super::PAGE_LEN;
use core::fmt;

/// Physical addresses have at most this many bits (Intel SDM volume 3, 4.1.4: MAXPHYADDR is at most 52).
pub const PHYSICAL_ADDRESS_BITS: u32 = 52;
/// Virtual addresses are the sign extension of this many bits (four-level paging, Intel SDM volume 3, 4.5).
pub const VIRTUAL_ADDRESS_BITS: u32 = 48;

/// A physical address, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysAddr(u64);

/// A virtual address, in bytes. Any 64-bit value: ranges are checked where they enter the core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtAddr(u64);

impl PhysAddr {
    /// The address with this value.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// Its value.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Number of the 4 KiB frame it lies in.
    #[must_use]
    pub const fn frame_number(self) -> u64 {
        self.0 / PAGE_LEN
    }

    /// Start of the 4 KiB frame with this number.
    #[must_use]
    pub const fn of_frame(number: u64) -> Self {
        Self(number * PAGE_LEN)
    }

    /// The address `len_bytes` further up, if it is one.
    #[must_use]
    pub const fn checked_add(self, len_bytes: u64) -> Option<Self> {
        match self.0.checked_add(len_bytes) {
            Some(sum) if sum <= 1 << PHYSICAL_ADDRESS_BITS => Some(Self(sum)),
            _ => None,
        }
    }

    /// Whether it is a multiple of `align_bytes`, a power of two.
    #[must_use]
    pub const fn is_aligned(self, align_bytes: u64) -> bool {
        self.0 & (align_bytes - 1) == 0
    }
}

impl VirtAddr {
    /// The address with this value.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// Its value.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Whether the processor takes it: bits 63 to 47 are all equal.
    #[must_use]
    pub const fn is_canonical(self) -> bool {
        let shift = u64::BITS - VIRTUAL_ADDRESS_BITS;
        ((self.0 << shift).cast_signed() >> shift).cast_unsigned() == self.0
    }

    /// Whether it is a multiple of `align_bytes`, a power of two.
    #[must_use]
    pub const fn is_aligned(self, align_bytes: u64) -> bool {
        self.0 & (align_bytes - 1) == 0
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PhysAddr({self})")
    }
}

impl fmt::Display for PhysAddr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

impl fmt::Debug for VirtAddr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VirtAddr({self})")
    }
}

impl fmt::Display for VirtAddr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hole_between_the_halves_is_not_canonical() {
        for address in [0, 0x7fff_ffff_ffff, 0xffff_8000_0000_0000, u64::MAX] {
            assert!(VirtAddr::new(address).is_canonical(), "{address:#x}");
        }
        for address in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
            assert!(!VirtAddr::new(address).is_canonical(), "{address:#x}");
        }
    }

    #[test]
    fn physical_addresses_end_at_52_bits() {
        let last = PhysAddr::new((1 << 52) - 4096);
        assert_eq!(last.checked_add(4096), Some(PhysAddr::new(1 << 52)));
        assert_eq!(last.checked_add(4097), None);
        assert_eq!(PhysAddr::new(u64::MAX).checked_add(1), None);
    }
}
