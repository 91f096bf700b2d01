//! Bochs, which emulates an Intel processor with VMX and extended page tables. It boots from a CD alone, so there is one with
//! a boot loader on it.

use crate::command;
use crate::error::Error;
use crate::machine::{COMMAND_LINE, Machine};
use nix::pty::openpty;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

/// Where packages have shared libraries, and below it Bochs's own parts.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const CONFIGURATION: &str = "ept.bochsrc";
const DEBUGGER_COMMANDS: &str = "ept.debugger";
const DISC: &str = "ept.iso";

/// Starts a machine, with the programs and data in this folder of unpacked packages.
///
/// # Errors
/// [`Error::File`], [`Error::Command`] for what can't be made or started.
pub(crate) fn start(machine: &Machine, packages: &Path) -> Result<Child, Error> {
    make_disc(machine, packages)?;
    let write = |name, contents: &str| {
        let path = machine.folder.join(name);
        fs::write(&path, contents).map_err(Error::file(&path, "written"))
    };
    write(CONFIGURATION, &configuration(machine, packages))?;
    // Debian's Bochs waits for its debugger to be told to continue.
    write(DEBUGGER_COMMANDS, "c\n")?;

    let program = packages.join("usr/bin/bochs-bin");
    let mut command = Command::new(&program);
    command
        // With the folder of the files as its own, its configuration has no path that it could misread.
        .current_dir(&machine.folder)
        .args(["-q", "-f", CONFIGURATION, "-rc", DEBUGGER_COMMANDS])
        .env("LD_LIBRARY_PATH", packages.join(LIBRARIES))
        .env("LTDL_LIBRARY_PATH", packages.join(LIBRARIES).join("bochs/plugins"))
        .env("BXSHARE", packages.join("usr/share/bochs"))
        .env("TERM", "xterm");
    on_terminal(&mut command, &machine.log)
        .and_then(|()| command.spawn())
        .map_err(Error::file(program, "started"))
}

/// What `man bochsrc` describes. It takes no more of the host's memory than 2 GiB.
fn configuration(machine: &Machine, packages: &Path) -> String {
    let console = machine.console.file_name().unwrap_or_default().to_string_lossy();
    let packages = packages.strip_prefix(&machine.folder).unwrap_or(packages).display();
    format!(
        "cpu: model=broadwell_ult, count=1, ips=100000000\n\
         memory: guest=2048, host=2048\n\
         romimage: file={packages}/usr/share/bochs/BIOS-bochs-latest\n\
         vgaromimage: file={packages}/usr/share/vgabios/vgabios.bin\n\
         ata0-master: type=cdrom, path={DISC}, status=inserted\n\
         boot: cdrom\n\
         com1: enabled=1, mode=file, dev={console}\n\
         panic: action=fatal\n\
         # Bochs logs from the handler of its clock's signal, too, and waits for itself when that interrupts it in a log \
         line; with KVM it has a line to log for each exit of a guest.\n\
         info: action=ignore\n\
         error: action=ignore\n\
         display_library: term, options=\"hideIPS\"\n"
    )
}

/// Gives a program a terminal, which Bochs's display draws on. What is drawn goes to a file, of which it may only fill a part.
fn on_terminal(command: &mut Command, log: &Path) -> io::Result<()> {
    const LOG_LEN_MAX: u64 = 1 << 20;
    let terminal = openpty(None, None)?;
    command.stdin(terminal.slave.try_clone()?).stdout(terminal.slave.try_clone()?).stderr(terminal.slave);
    let mut drawn = File::from(terminal.master);
    let mut log = File::create(log)?;
    thread::spawn(move || {
        // Both end with an error when the last holder of the terminal is gone.
        let _ = io::copy(&mut Read::by_ref(&mut drawn).take(LOG_LEN_MAX), &mut log);
        let _ = io::copy(&mut drawn, &mut io::sink());
    });
    Ok(())
}

/// Makes the CD.
fn make_disc(machine: &Machine, packages: &Path) -> Result<(), Error> {
    let folder = machine.folder.join("ept-disc");
    let loader = folder.join("isolinux");
    fs::create_dir_all(&loader).map_err(Error::file(&loader, "made"))?;
    let copy =
        |from: PathBuf, to: PathBuf| fs::copy(&from, to).map(drop).map_err(Error::file(from, "copied"));
    copy(machine.kernel.clone(), folder.join("vmlinuz"))?;
    copy(machine.initramfs.clone(), folder.join("initrd"))?;
    copy(packages.join("usr/lib/ISOLINUX/isolinux.bin"), loader.join("isolinux.bin"))?;
    copy(packages.join("usr/lib/syslinux/modules/bios/ldlinux.c32"), loader.join("ldlinux.c32"))?;
    let menu = loader.join("isolinux.cfg");
    let text = format!(
        "default linux\nprompt 0\nlabel linux\n kernel /vmlinuz\n append initrd=/initrd {COMMAND_LINE}\n"
    );
    fs::write(&menu, text).map_err(Error::file(&menu, "written"))?;

    let mut xorriso = Command::new(packages.join("usr/bin/xorriso"));
    xorriso
        .env("LD_LIBRARY_PATH", packages.join(LIBRARIES))
        .args(["-as", "mkisofs", "-quiet", "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat"])
        .args(["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "-o"])
        .arg(machine.folder.join(DISC))
        .arg(&folder);
    command::run(&mut xorriso, "remove the folder of packages, to have it fetched anew").map(drop)
}
