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
    *low.start_info = StartInfo::new(map.len(), modules);
    Ok(entry)
}
