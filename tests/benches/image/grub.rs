//! A disk that GRUB boots, as small and fast as GRUB makes it: no menu, no wait, its few modules in its core behind the boot
//! sector, and one FAT partition.
//!
//! GRUB has no loader for PVH. What it enters is a stub of a few bytes that ends the machine, beside which it loads the
//! appliance's file as a module: all that a loader would do but to enter the kernel.

use crate::Result;
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian's package grub-pc-bin has the boot sector and the modules.
const FOLDER: &str = "/usr/lib/grub/i386-pc";

const BLOCK_LEN: usize = 512;
/// What a boot sector has of code.
const CODE_LEN: usize = 440;
/// Where the partition begins: at 1 MiB, so that the core has room in front of it.
const PARTITION_BLOCK: usize = 2048;
const PARTITION_TYPE_FAT: u8 = 0x0e;

const CONFIGURATION: &str = "multiboot (hd0,msdos1)/stub\nmodule (hd0,msdos1)/kernel\nboot\n";
const MODULES: [&str; 5] = ["biosdisk", "part_msdos", "fat", "multiboot", "boot"];

/// Why there is no GRUB here, and what to do; `None` if there is.
pub(crate) fn missing() -> Option<&'static str> {
    let has_program = Command::new("grub-mkimage").arg("--version").output().is_ok();
    (!has_program || !boot_sector().is_file())
        .then_some("it is not installed; install it with: apt-get install grub-common grub-pc-bin")
}

fn boot_sector() -> PathBuf {
    Path::new(FOLDER).join("boot.img")
}

/// Makes the disk with an appliance's file.
pub(crate) fn disk(appliance: &[u8], folder: &Path) -> Result<Vec<u8>> {
    let core = core(folder)?;
    let partition = partition(appliance)?;
    let mut disk = vec![0; PARTITION_BLOCK * BLOCK_LEN];
    // Behind the boot sector's code come partitions, where the file has code for floppies. The core is looked for in the next block
    // unless an installer writes another place into the boot sector.
    let boot_sector = fs::read(boot_sector())?;
    let code = boot_sector.get(..CODE_LEN).ok_or("GRUB's boot sector is too short")?;
    disk[..CODE_LEN].copy_from_slice(code);
    let room = disk[BLOCK_LEN..].get_mut(..core.len()).ok_or("GRUB's core is too large")?;
    room.copy_from_slice(&core);
    disk[446..462].copy_from_slice(&partition_entry(partition.len() / BLOCK_LEN));
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk.extend(partition);
    Ok(disk)
}

/// GRUB's core with its configuration and modules.
fn core(folder: &Path) -> Result<Vec<u8>> {
    let (configuration, core) = (folder.join("grub.cfg"), folder.join("core.img"));
    fs::write(&configuration, CONFIGURATION)?;
    let mut command = Command::new("grub-mkimage");
    command.args(["--format", "i386-pc", "--prefix", "(hd0,msdos1)/"]).arg("--config").arg(&configuration);
    command.arg("--output").arg(&core).args(MODULES);
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("grub-mkimage: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(fs::read(core)?)
}

/// A FAT file system with stub and appliance, and little room beside them.
fn partition(appliance: &[u8]) -> Result<Vec<u8>> {
    const ROOM: usize = 64 << 10;
    let len = (appliance.len() + ROOM).next_multiple_of(BLOCK_LEN);
    let mut volume = Cursor::new(vec![0; len]);
    format_volume(&mut volume, FormatVolumeOptions::new())?;
    let file_system = FileSystem::new(&mut volume, FsOptions::new())?;
    for (name, content) in [("stub", &stub()[..]), ("kernel", appliance)] {
        file_system.root_dir().create_file(name)?.write_all(content)?;
    }
    file_system.unmount()?;
    Ok(volume.into_inner())
}

/// The entry of a partition table (the UEFI specification, 5.2.1, has it).
fn partition_entry(blocks: usize) -> [u8; 16] {
    let mut entry = [0; 16];
    entry[4] = PARTITION_TYPE_FAT;
    entry[8..12].copy_from_slice(&(PARTITION_BLOCK as u32).to_le_bytes());
    entry[12..16].copy_from_slice(&(blocks as u32).to_le_bytes());
    entry
}

/// A kernel by the Multiboot specification (0.6.96, 3.1), at 1 MiB, that ends the machine with status 0.
fn stub() -> Vec<u8> {
    const MAGIC: u32 = 0x1bad_b002;
    /// The header says where to load what.
    const HAS_ADDRESSES: u32 = 1 << 16;
    const ADDRESS: u32 = 1 << 20;
    const HEADER_LEN: u32 = 32;
    let checksum = 0u32.wrapping_sub(MAGIC).wrapping_sub(HAS_ADDRESSES);
    // Magic, flags, checksum; where header, start, end of the data (0: of the file) and of what is cleared are, and the entry.
    let header = [MAGIC, HAS_ADDRESSES, checksum, ADDRESS, ADDRESS, 0, 0, ADDRESS + HEADER_LEN];
    let mut stub: Vec<u8> = header.iter().flat_map(|field| field.to_le_bytes()).collect();
    stub.extend(crate::END_AT_ONCE);
    stub
}
