//! The boot sequence, up to the kernel's entry.

use crate::ata::{Drive, Ports};
use crate::command_line;
use crate::disk::FwCfgDisk;
use crate::failure::Failure;
use crate::fw_cfg::{File, Files, FwCfg};
use crate::image;
use crate::kernel;
use crate::low_memory::{self, LowMemory};
use crate::memory_map::MemoryMap;
use crate::ram::Ram;
use crate::start_info::{Modules, StartInfo};
use guest_interface::host_information;

/// Brings a kernel and what it is given into memory, and returns its PVH entry.
///
/// The kernel is the one that the VMM has loaded, else that of the image on fw_cfg's disk, else that on the first ATA disk.
/// Where there is one of these, the others are not looked at, whatever it turns out to be.
///
/// # Errors
/// The [`Failure`] that ends it.
pub fn prepare(
    fw_cfg: &mut impl FwCfg,
    ports: &mut impl Ports,
    low: &mut LowMemory,
    ram: &mut impl Ram,
) -> Result<u32, Failure> {
    let files = Files::read(fw_cfg, &mut low.directory)?;

    let file = files.memory_map.ok_or(Failure::NoMemoryMap)?;
    let e820 = low.e820.get_mut(..file.len as usize).ok_or(Failure::TooManyRanges)?;
    fw_cfg.read(file.key, 0, e820)?;
    let map = MemoryMap::from_e820(e820, &mut low.memory_map)?;
    if !map.is_ram(low_memory::START, low_memory::END) {
        return Err(Failure::NoLowRam);
    }

    if let Some(file) = files.command_line {
        command_line::read(fw_cfg, file, &mut low.command_line)?;
    }
    let line = files.command_line.is_none().then_some(&mut *low.command_line);

    let entry = if let Some(entry) = kernel::entry(fw_cfg, map)? {
        if let Some(place) = line {
            let item = kernel::command_line(fw_cfg)?;
            command_line::read(fw_cfg, item, place)?;
        }
        entry
    } else if let Some(file) = files.disk {
        image::load(&mut FwCfgDisk::new(fw_cfg, file), &mut low.header, map, ram, line)?
    } else if let Some(mut drive) = Drive::find(ports)? {
        image::load(&mut drive, &mut low.header, map, ram, line)?
    } else {
        return Err(Failure::NothingToBoot);
    };

    let mut modules = 0;
    if let Some(File { key, len }) = files.host_information {
        if len as usize != host_information::LEN {
            return Err(Failure::HostInformationDamaged);
        }
        fw_cfg.read(key, 0, &mut *low.host_information)?;
        *low.modules = Modules::new();
        modules = 1;
    }
    *low.start_info = StartInfo::new(map.ranges().len(), modules);
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ata::tests::Channel;
    use crate::fw_cfg::tests::Items;
    use crate::image::tests::{ENTRY, LINE, disk, e820};
    use crate::ram::tests::Bytes;
    use guest_interface::fw_cfg::{
        FILE_COMMAND_LINE, FILE_DISK, FILE_HOST_INFORMATION, FILE_MEMORY_MAP, KEY_COMMAND_LINE,
        KEY_COMMAND_LINE_LEN, KEY_KERNEL_ENTRY,
    };

    const KERNEL_ENTRY: u32 = 0x12_3456;
    const KERNEL_LINE: &[u8] = b"of the kernel\0";

    /// A VMM that gives nothing but memory.
    fn items() -> Items {
        let mut items = Items::new();
        items.add(FILE_MEMORY_MAP, &e820(4 << 20));
        items
    }

    fn with_kernel(mut items: Items) -> Items {
        items.items.insert(KEY_KERNEL_ENTRY, KERNEL_ENTRY.to_le_bytes().to_vec());
        items.items.insert(KEY_COMMAND_LINE_LEN, (KERNEL_LINE.len() as u32).to_le_bytes().to_vec());
        items.items.insert(KEY_COMMAND_LINE, KERNEL_LINE.to_vec());
        items
    }

    fn with_file(mut items: Items, name: &str, content: &[u8]) -> Items {
        items.add(name, content);
        items
    }

    fn boot(mut items: Items, mut channel: Channel) -> Result<(u32, Box<LowMemory>), Failure> {
        let mut low = LowMemory::dirty();
        let entry = prepare(&mut items, &mut channel, &mut low, &mut Bytes::new(3 << 20))?;
        Ok((entry, low))
    }

    /// The entry and the command line.
    fn booted(items: Items, channel: Channel) -> Result<(u32, Vec<u8>), Failure> {
        let (entry, low) = boot(items, channel)?;
        let len = low.command_line.iter().position(|byte| *byte == 0).unwrap();
        Ok((entry, low.command_line[..=len].to_vec()))
    }

    #[test]
    fn a_kernel_comes_before_disks_and_fw_cfgs_disk_before_the_other() {
        let foreign = || vec![0; 50 * 512];
        let with_disk = |content: &[u8]| with_file(items(), FILE_DISK, content);
        let of_image = Ok((ENTRY, LINE.to_vec()));
        assert_eq!(
            booted(with_kernel(with_disk(&foreign())), Channel::disk(foreign())),
            Ok((KERNEL_ENTRY, KERNEL_LINE.to_vec()))
        );
        assert_eq!(booted(with_disk(&disk()), Channel::disk(foreign())), of_image);
        assert_eq!(booted(items(), Channel::disk(disk())), of_image);
        assert_eq!(booted(with_disk(&foreign()), Channel::disk(disk())), Err(Failure::NoHeader));
        assert_eq!(booted(items(), Channel::nothing()), Err(Failure::NothingToBoot));
    }

    #[test]
    fn the_command_line_given_by_name_replaces_every_other() {
        let given = || with_file(items(), FILE_COMMAND_LINE, b"given");
        let line = b"given\0".to_vec();
        assert_eq!(booted(with_kernel(given()), Channel::nothing()), Ok((KERNEL_ENTRY, line.clone())));
        assert_eq!(
            booted(with_file(given(), FILE_DISK, &disk()), Channel::nothing()),
            Ok((ENTRY, line.clone()))
        );
        assert_eq!(booted(given(), Channel::disk(disk())), Ok((ENTRY, line)));
        let too_long = with_file(items(), FILE_COMMAND_LINE, &[b'x'; 4096]);
        assert_eq!(booted(with_kernel(too_long), Channel::nothing()), Err(Failure::CommandLineTooLong));
    }

    #[test]
    fn the_host_information_is_a_module() {
        let information = [7; host_information::LEN];
        let given = with_file(with_kernel(items()), FILE_HOST_INFORMATION, &information);
        let (_, low) = boot(given, Channel::nothing()).unwrap();
        assert_eq!(*low.host_information, information);
        assert_eq!(*low.modules, Modules::new());
        assert_eq!(*low.start_info, StartInfo::new(2, 1));
        let (_, low) = boot(with_kernel(items()), Channel::nothing()).unwrap();
        assert_eq!(*low.start_info, StartInfo::new(2, 0));
        for len in [0, host_information::LEN - 1, host_information::LEN + 1] {
            let given = with_file(with_kernel(items()), FILE_HOST_INFORMATION, &vec![7; len]);
            assert_eq!(boot(given, Channel::nothing()).err(), Some(Failure::HostInformationDamaged));
        }
    }

    #[test]
    fn without_a_memory_map_nothing_boots() {
        let map = |content: &[u8]| with_kernel(with_file(Items::new(), FILE_MEMORY_MAP, content));
        let failure = |items| boot(items, Channel::nothing()).err();
        assert_eq!(failure(with_kernel(Items::default())), Some(Failure::NoFwCfg));
        assert_eq!(failure(with_kernel(with_file(Items::new(), "x", &[]))), Some(Failure::NoMemoryMap));
        assert_eq!(failure(map(&[0; 19])), Some(Failure::MemoryMapDamaged));
        assert_eq!(failure(map(&[0; 65 * 20])), Some(Failure::TooManyRanges));
        assert_eq!(failure(map(&[])), Some(Failure::NoLowRam));
        assert_eq!(failure(map(&e820(0x1_ffff))), Some(Failure::NoLowRam));
        assert_eq!(failure(map(&e820(1 << 20))), Some(Failure::NoRamForKernel));
    }
}
