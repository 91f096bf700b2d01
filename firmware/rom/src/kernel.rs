//! A kernel that the VMM has loaded: QEMU's `-kernel` with a PVH image. Its segments are in memory when the machine starts.

use crate::failure::Failure;
use crate::fw_cfg::{File, FwCfg};
use crate::memory_map::MemoryMap;
use crate::ram;
use guest_interface::fw_cfg::{
    KEY_COMMAND_LINE, KEY_COMMAND_LINE_LEN, KEY_KERNEL_ADDRESS, KEY_KERNEL_DATA, KEY_KERNEL_ENTRY,
    KEY_KERNEL_LEN,
};

/// The PVH entry of the kernel that is loaded, or `None` if there is none.
///
/// # Errors
/// [`Failure::NotPvh`] for a kernel of another boot protocol, which fw_cfg hands over as data or without an entry;
/// [`Failure::NoRamForKernel`], [`Failure::TransferFailed`].
pub fn entry(fw_cfg: &mut impl FwCfg, map: MemoryMap<'_>) -> Result<Option<u32>, Failure> {
    let (entry, len) = (fw_cfg.number(KEY_KERNEL_ENTRY)?, fw_cfg.number(KEY_KERNEL_LEN)?);
    if entry == 0 {
        return if len == 0 { Ok(None) } else { Err(Failure::NotPvh) };
    }
    let in_ram = |start: u32, len: u32| {
        let start = u64::from(start);
        start >= u64::from(ram::START) && map.is_ram(start, start + u64::from(len))
    };
    // A VMM that gives nothing but the entry has seen to the rest.
    if len != 0 {
        if fw_cfg.number(KEY_KERNEL_DATA)? != 0 {
            return Err(Failure::NotPvh);
        }
        if !in_ram(fw_cfg.number(KEY_KERNEL_ADDRESS)?, len) {
            return Err(Failure::NoRamForKernel);
        }
    }
    if in_ram(entry, 1) { Ok(Some(entry)) } else { Err(Failure::NoRamForKernel) }
}

/// Its command line.
///
/// # Errors
/// [`Failure::TransferFailed`].
pub fn command_line(fw_cfg: &mut impl FwCfg) -> Result<File, Failure> {
    Ok(File { key: KEY_COMMAND_LINE, len: fw_cfg.number(KEY_COMMAND_LINE_LEN)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fw_cfg::tests::Items;
    use crate::memory_map::{RANGES_MAX, Range};

    /// 32 MiB of RAM.
    fn entry(address: u32, len: u32, entry: u32, data: &[u8]) -> Result<Option<u32>, Failure> {
        let e820 = [&0u64.to_le_bytes()[..], &(32u64 << 20).to_le_bytes(), &1u32.to_le_bytes()].concat();
        let mut ranges = [Range::default(); RANGES_MAX];
        let map = MemoryMap::from_e820(&e820, &mut ranges)?;
        let mut items = Items::new();
        for (key, number) in [(KEY_KERNEL_ADDRESS, address), (KEY_KERNEL_LEN, len), (KEY_KERNEL_ENTRY, entry)]
        {
            items.items.insert(key, number.to_le_bytes().to_vec());
        }
        items.items.insert(KEY_KERNEL_DATA, data.to_vec());
        super::entry(&mut items, map)
    }

    #[test]
    fn a_kernel_in_ram_is_entered() {
        assert_eq!(entry(0x20_0000, 0x1_0000, 0x20_1000, &[]), Ok(Some(0x20_1000)));
        assert_eq!(entry(0x10_0000, 31 << 20, 0x10_0000, &[]), Ok(Some(0x10_0000)));
        assert_eq!(entry(0, 0, 0x10_0000, &[]), Ok(Some(0x10_0000)));
        assert_eq!(entry(0, 0, 0, &[]), Ok(None));
    }

    #[test]
    fn a_kernel_of_another_protocol_is_not_entered() {
        assert_eq!(entry(0x10_0000, 0x1000, 0, b"bzImage"), Err(Failure::NotPvh));
        assert_eq!(entry(0x10_0000, 0x1000, 0x10_0000, b"Multiboot"), Err(Failure::NotPvh));
    }

    #[test]
    fn a_kernel_outside_ram_is_not_entered() {
        for (address, len, at) in [
            (0x20_0000, 0x1e0_0001, 0x20_0000),
            (0x20_0000, 0x1000, 0x200_0000),
            (0x20_0000, 0x1000, 0xf_ffff),
            (0xf_ffff, 0x1000, 0x10_0000),
            (0, 0x1000, 0x10_0000),
            (0, 0, 0xf_ffff),
            (0, 0, 0x200_0000),
            (u32::MAX, u32::MAX, u32::MAX),
        ] {
            assert_eq!(
                entry(address, len, at, &[]),
                Err(Failure::NoRamForKernel),
                "{address:#x} {len:#x} {at:#x}"
            );
        }
    }
}
