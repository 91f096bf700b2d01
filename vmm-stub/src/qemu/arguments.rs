//! QEMU's command line.

use crate::memory::size::MemoryLen;
use clap::ValueEnum;
use guest_interface::ports;
use std::ffi::OsString;
use std::path::Path;

/// Machines that QEMU emulates and a guest boots on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum QemuMachine {
    #[default]
    Microvm,
    Q35,
    Pc,
}

impl QemuMachine {
    /// What is left out of microvm takes time to set up, and no guest uses it. The PIT stays, for guests to measure their
    /// clock with. The automatic command line would add to the guest's.
    const fn option(self) -> &'static str {
        match self {
            Self::Microvm => "microvm,rtc=off,acpi=off,pit=on,isa-serial=on,auto-kernel-cmdline=off",
            Self::Q35 => "q35",
            Self::Pc => "pc",
        }
    }
}

/// The appliance's ELF file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kernel<'a> {
    /// There.
    File(&'a Path),
    /// In no file of its own.
    Bytes(&'a [u8]),
}

/// What QEMU shall run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guest<'a> {
    pub(crate) machine: QemuMachine,
    pub(crate) memory: MemoryLen,
    pub(crate) kernel: Kernel<'a>,
    pub(crate) command_line: &'a str,
}

impl Guest<'_> {
    /// QEMU's arguments. `status_path` is what QEMU opens to write the bytes of the debug console to, `kernel_path` where it reads
    /// the appliance.
    pub(crate) fn arguments(&self, status_path: &str, kernel_path: &Path) -> Vec<OsString> {
        let kib = self.memory.bytes() / 1024;
        let exit = format!("isa-debug-exit,iobase={:#x},iosize=0x04", ports::EXIT);
        let debugcon = format!(
            "isa-debugcon,iobase={:#x},readback={:#x},chardev=status",
            ports::DEBUGCON,
            ports::DEBUGCON_PRESENT
        );
        let fixed = [
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-M",
            self.machine.option(),
            "-m",
            &format!("{kib}K"),
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-serial",
            "stdio",
            "-chardev",
            &format!("file,id=status,path={status_path}"),
            "-device",
            &debugcon,
            "-device",
            &exit,
        ];
        let mut arguments: Vec<OsString> = fixed.iter().map(OsString::from).collect();
        arguments.extend(["-append".into(), self.command_line.into(), "-kernel".into(), kernel_path.into()]);
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(machine: QemuMachine) -> Vec<String> {
        let path = Path::new("/tmp/with space,comma");
        let guest = Guest {
            machine,
            memory: MemoryLen::new(16 << 20).unwrap(),
            kernel: Kernel::File(path),
            command_line: "log=info -- -append \"a b\"",
        };
        let arguments = guest.arguments("/dev/fd/7", path);
        arguments.into_iter().map(|argument| argument.into_string().unwrap()).collect()
    }

    /// The word behind an option.
    fn value<'a>(arguments: &'a [String], option: &str) -> &'a str {
        let index = arguments.iter().position(|argument| argument == option).unwrap();
        &arguments[index + 1]
    }

    #[test]
    fn qemu_gets_the_guest_as_it_is() {
        let arguments = arguments(QemuMachine::Q35);
        assert_eq!(value(&arguments, "-M"), "q35");
        assert_eq!(value(&arguments, "-m"), "16384K");
        assert_eq!(value(&arguments, "-kernel"), "/tmp/with space,comma");
        assert_eq!(value(&arguments, "-append"), "log=info -- -append \"a b\"");
    }

    #[test]
    fn the_exit_and_status_devices_are_where_the_guest_looks_for_them() {
        let arguments = arguments(QemuMachine::Microvm);
        let exit = format!("isa-debug-exit,iobase={:#x},iosize=0x04", ports::EXIT);
        assert!(arguments.contains(&exit));
        let debugcon = arguments.iter().find(|argument| argument.starts_with("isa-debugcon")).unwrap();
        assert!(debugcon.contains(&format!("iobase={:#x},", ports::DEBUGCON)), "{debugcon}");
        assert!(debugcon.contains(&format!("readback={:#x},", ports::DEBUGCON_PRESENT)), "{debugcon}");
        assert_eq!(value(&arguments, "-chardev"), "file,id=status,path=/dev/fd/7");
    }

    #[test]
    fn every_machine_has_a_pit_and_microvm_its_serial_port() {
        assert!(value(&arguments(QemuMachine::Microvm), "-M").contains("pit=on,isa-serial=on"));
        for machine in QemuMachine::value_variants() {
            assert!(!value(&arguments(*machine), "-M").contains("pit=off"));
        }
    }
}
