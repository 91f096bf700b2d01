//! What a mapping allows and how it is cached, for each kind only what makes sense there.
//!
//! Writable and executable at once can't be said, nor an executable heap, executable device registers, or cached ones.

use x86::bits64::paging::PTFlags;

/// Rights to data, which is never executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataAccess {
    /// Reading.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

/// Rights to kernel memory (W^X).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelAccess {
    /// Reading.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
    /// Reading and executing.
    ReadExecute,
}

/// How device registers are cached: not at all, or with writes combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceCache {
    /// UC: strongly ordered, for registers with effects.
    Uncached,
    /// WC: writes are combined and buffered, for frame buffers.
    WriteCombining,
}

/// Attributes of device registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmioAttributes {
    /// Rights.
    pub access: DataAccess,
    /// Cache type.
    pub cache: DeviceCache,
}

/// The IA32_PAT (MSR 0x277) that these encodings are made for: the value at reset, with WC in place of WB in entry 4
/// (Intel SDM volume 3, 12.12.4).
pub const PAT_MSR_VALUE: u64 = 0x0007_0401_0007_0406;

/// Selects entries 4 to 7 of the PAT, in a 4 KiB leaf. In a larger one that bit says that it is a leaf, and this is
/// [`PAT_OF_LARGE`] (Intel SDM volume 3, tables 4-17 to 4-20).
pub(crate) const PAT_OF_4KIB: u64 = 1 << 7;
/// Selects entries 4 to 7 of the PAT, in a leaf of 2 MiB or 1 GiB.
pub(crate) const PAT_OF_LARGE: u64 = 1 << 12;

/// Attributes as bits of a 4 KiB leaf.
pub trait Attributes: Copy + Eq + core::fmt::Debug {
    /// The bits, of [`ATTRIBUTE_BITS`].
    fn to_bits(self) -> u64;
    /// The attributes that these bits of a live leaf of the kind stand for.
    fn from_bits(bits: u64) -> Self;
}

/// The bits of a 4 KiB leaf that say what it allows and how it is cached.
pub const ATTRIBUTE_BITS: u64 =
    PTFlags::RW.bits() | PTFlags::XD.bits() | PTFlags::PWT.bits() | PTFlags::PCD.bits() | PAT_OF_4KIB;

/// Whether memory mapped with `before` could do something, or in some way, that it can't with `after`: then stale
/// translations matter.
pub(crate) const fn lessens(before: u64, after: u64) -> bool {
    let cache = PTFlags::PWT.bits() | PTFlags::PCD.bits() | PAT_OF_4KIB;
    let writable_lost = before & !after & PTFlags::RW.bits() != 0;
    let execution_lost = after & !before & PTFlags::XD.bits() != 0;
    writable_lost || execution_lost || (before ^ after) & cache != 0
}

impl Attributes for DataAccess {
    fn to_bits(self) -> u64 {
        match self {
            Self::ReadOnly => PTFlags::XD.bits(),
            Self::ReadWrite => PTFlags::XD.bits() | PTFlags::RW.bits(),
        }
    }

    fn from_bits(bits: u64) -> Self {
        if bits & PTFlags::RW.bits() == 0 { Self::ReadOnly } else { Self::ReadWrite }
    }
}

impl Attributes for KernelAccess {
    fn to_bits(self) -> u64 {
        match self {
            Self::ReadOnly => PTFlags::XD.bits(),
            Self::ReadWrite => PTFlags::XD.bits() | PTFlags::RW.bits(),
            Self::ReadExecute => 0,
        }
    }

    fn from_bits(bits: u64) -> Self {
        if bits & PTFlags::XD.bits() == 0 {
            Self::ReadExecute
        } else if bits & PTFlags::RW.bits() == 0 {
            Self::ReadOnly
        } else {
            Self::ReadWrite
        }
    }
}

impl Attributes for MmioAttributes {
    fn to_bits(self) -> u64 {
        let cache = match self.cache {
            DeviceCache::Uncached => PTFlags::PWT.bits() | PTFlags::PCD.bits(),
            DeviceCache::WriteCombining => PAT_OF_4KIB,
        };
        self.access.to_bits() | cache
    }

    fn from_bits(bits: u64) -> Self {
        let cache = if bits & PAT_OF_4KIB == 0 { DeviceCache::Uncached } else { DeviceCache::WriteCombining };
        Self { access: DataAccess::from_bits(bits), cache }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_an_entry_comes_out_of_it() {
        for access in [DataAccess::ReadOnly, DataAccess::ReadWrite] {
            assert_eq!(DataAccess::from_bits(access.to_bits()), access);
            for cache in [DeviceCache::Uncached, DeviceCache::WriteCombining] {
                let attributes = MmioAttributes { access, cache };
                assert_eq!(MmioAttributes::from_bits(attributes.to_bits()), attributes);
                assert_eq!(attributes.to_bits() & !ATTRIBUTE_BITS, 0);
            }
        }
        for access in [KernelAccess::ReadOnly, KernelAccess::ReadWrite, KernelAccess::ReadExecute] {
            assert_eq!(KernelAccess::from_bits(access.to_bits()), access);
            let both = access.to_bits() & (PTFlags::RW | PTFlags::XD).bits();
            assert_ne!(both, PTFlags::RW.bits(), "writable and executable");
        }
    }

    #[test]
    fn the_pat_has_the_types_that_are_selected() {
        let entry = |bits: u64| {
            let index = (bits >> 3 & 1) | (bits >> 4 & 1) << 1 | (bits >> 7 & 1) << 2;
            PAT_MSR_VALUE >> (8 * index) & 0xff
        };
        let of = |cache| MmioAttributes { access: DataAccess::ReadWrite, cache }.to_bits();
        assert_eq!(entry(of(DeviceCache::Uncached)), 0, "UC");
        assert_eq!(entry(of(DeviceCache::WriteCombining)), 1, "WC");
        assert_eq!(entry(KernelAccess::ReadWrite.to_bits()), 6, "WB");
    }

    #[test]
    fn only_what_takes_something_away_lessens() {
        let [ro, rw, rx] = [KernelAccess::ReadOnly, KernelAccess::ReadWrite, KernelAccess::ReadExecute]
            .map(Attributes::to_bits);
        for (before, after, expected) in
            [(ro, rw, false), (ro, rx, false), (rw, ro, true), (rx, ro, true), (rw, rx, true), (rx, rw, true)]
        {
            assert_eq!(lessens(before, after), expected, "{before:#x} to {after:#x}");
        }
        let of = |cache| MmioAttributes { access: DataAccess::ReadWrite, cache }.to_bits();
        assert!(lessens(of(DeviceCache::Uncached), of(DeviceCache::WriteCombining)));
    }
}
