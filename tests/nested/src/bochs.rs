//! Bochs, which emulates an Intel processor with VMX and extended page tables. It boots from a CD alone, so there is one with
//! a boot loader on it.

use crate::error::Error;
use crate::machine::Machine;
use crate::{disc, emulator, packages, terminal};
use std::fs;
use std::path::Path;
use std::process::{Child, Command};

/// Where Debian's Bochs has its own parts.
const PLUGINS: &str = "usr/lib/x86_64-linux-gnu/bochs/plugins";
const CONFIGURATION: &str = "ept.bochsrc";
const DEBUGGER_COMMANDS: &str = "ept.debugger";
const DISC: &str = "ept.iso";

/// Starts a machine, with the programs and data in this folder of unpacked packages.
///
/// # Errors
/// [`Error::File`], [`Error::Command`] for what can't be made or started.
pub(crate) fn start(machine: &Machine, programs: &Path) -> Result<Child, Error> {
    disc::make(machine, programs, DISC)?;
    let write = |name, contents: &str| {
        let path = machine.folder.join(name);
        fs::write(&path, contents).map_err(Error::file(&path, "written"))
    };
    write(CONFIGURATION, &configuration(machine, programs))?;
    // Debian's Bochs waits for its debugger to be told to continue.
    write(DEBUGGER_COMMANDS, "c\n")?;

    let program = programs.join("usr/bin/bochs-bin");
    let mut command = Command::new(&program);
    command
        // With the folder of the files as its own, its configuration has no path that it could misread.
        .current_dir(&machine.folder)
        .args(["-q", "-f", CONFIGURATION, "-rc", DEBUGGER_COMMANDS])
        .env("LD_LIBRARY_PATH", packages::libraries(programs))
        // It keeps the path of a plugin in a buffer that a long one overflows, so that path must not grow with the folder's.
        .env("LTDL_LIBRARY_PATH", in_the_folder(machine, programs).join(PLUGINS))
        .env("BXSHARE", programs.join("usr/share/bochs"))
        .env("TERM", "xterm");
    terminal::give(&mut command, &machine.log)
        .and_then(|()| emulator::spawn(&mut command))
        .map_err(Error::file(program, "started"))
}

/// What `man bochsrc` describes. It takes no more of the host's memory than 2 GiB.
fn configuration(machine: &Machine, programs: &Path) -> String {
    let console = machine.console.file_name().unwrap_or_default().to_string_lossy();
    let programs = in_the_folder(machine, programs).display();
    format!(
        "cpu: model=broadwell_ult, count=1, ips=100000000\n\
         memory: guest=2048, host=2048\n\
         romimage: file={programs}/usr/share/bochs/BIOS-bochs-latest\n\
         vgaromimage: file={programs}/usr/share/vgabios/vgabios.bin\n\
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

/// A path as the emulator sees it, which has the machine's folder as its own.
fn in_the_folder<'a>(machine: &Machine, path: &'a Path) -> &'a Path {
    path.strip_prefix(&machine.folder).unwrap_or(path)
}
