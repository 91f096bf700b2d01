//! A CD with a kernel, its initramfs, and the boot loader isolinux.

use crate::error::Error;
use crate::machine::{COMMAND_LINE, Machine};
use crate::{command, packages};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes the CD of a machine, with this name in its folder.
///
/// # Errors
/// For files that can't be read or written.
pub(crate) fn make(machine: &Machine, programs: &Path, name: &str) -> Result<(), Error> {
    let folder = machine.folder.join("ept-disc");
    let loader = folder.join("isolinux");
    fs::create_dir_all(&loader).map_err(Error::file(&loader, "made"))?;
    let copy =
        |from: PathBuf, to: PathBuf| fs::copy(&from, to).map(drop).map_err(Error::file(from, "copied"));
    copy(machine.kernel.clone(), folder.join("vmlinuz"))?;
    copy(machine.initramfs.clone(), folder.join("initrd"))?;
    copy(programs.join("usr/lib/ISOLINUX/isolinux.bin"), loader.join("isolinux.bin"))?;
    copy(programs.join("usr/lib/syslinux/modules/bios/ldlinux.c32"), loader.join("ldlinux.c32"))?;
    let menu = loader.join("isolinux.cfg");
    let text = format!(
        "default linux\nprompt 0\nlabel linux\n kernel /vmlinuz\n append initrd=/initrd {COMMAND_LINE}\n"
    );
    fs::write(&menu, text).map_err(Error::file(&menu, "written"))?;

    let mut xorriso = Command::new(programs.join("usr/bin/xorriso"));
    xorriso
        .env("LD_LIBRARY_PATH", packages::libraries(programs))
        .args(["-as", "mkisofs", "-quiet", "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat"])
        .args(["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "-o"])
        .arg(machine.folder.join(name))
        .arg(&folder);
    command::run(&mut xorriso, "remove the folder of packages, to have it fetched anew").map(drop)
}
