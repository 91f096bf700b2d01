//! QEMU's command line.

use crate::memory::size::MemoryLen;
use clap::ValueEnum;
use guest_interface::fw_cfg::{FILE_COMMAND_LINE, FILE_DISK};
use guest_interface::ports;
use std::fs::File;

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

/// What the guest is booted from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    /// An appliance's ELF file, as it was read and checked.
    Kernel { bytes: &'a [u8], command_line: &'a str },
    /// A disk for firmware; with another command line than its own, if one is needed.
    Disk { file: &'a File, command_line: Option<&'a str> },
}

/// What QEMU shall run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guest<'a> {
    pub(crate) machine: QemuMachine,
    pub(crate) memory: MemoryLen,
    /// The bytes of a ROM, in the place of QEMU's own.
    pub(crate) firmware: Option<&'a [u8]>,
    pub(crate) content: Content<'a>,
}

/// What QEMU opens.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// Where it writes the bytes of the debug console to.
    pub(crate) status: String,
    /// Where it reads what the guest is booted from.
    pub(crate) content: String,
    /// Where it reads the ROM, if there is one.
    pub(crate) firmware: Option<String>,
}

impl Guest<'_> {
    /// QEMU's arguments.
    pub(crate) fn arguments(&self, paths: &Paths) -> Vec<String> {
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
            &format!("file,id=status,path={}", paths.status),
            "-device",
            &debugcon,
            "-device",
            &exit,
        ];
        let mut arguments = fixed.map(str::to_owned).to_vec();
        if let Some(firmware) = &paths.firmware {
            arguments.extend(["-bios".to_owned(), firmware.clone()]);
        }
        match self.content {
            Content::Kernel { command_line, .. } => {
                arguments.extend(["-append", command_line].map(str::to_owned));
                arguments.extend(["-kernel", &paths.content].map(str::to_owned));
            }
            // The same files as on KVM.
            Content::Disk { command_line, .. } => {
                arguments.extend(["-fw_cfg".to_owned(), item(FILE_DISK, "file", &paths.content)]);
                if let Some(line) = command_line {
                    arguments.extend(["-fw_cfg".to_owned(), item(FILE_COMMAND_LINE, "string", line)]);
                }
            }
        }
        arguments
    }
}

/// An item of fw_cfg as QEMU's option takes it. A comma ends a value, unless it is doubled.
fn item(name: &str, source: &str, value: &str) -> String {
    format!("name={name},{source}={}", value.replace(',', ",,"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments_for(machine: QemuMachine, firmware: Option<&str>, content: Content<'_>) -> Vec<String> {
        let memory = MemoryLen::new(16 << 20).unwrap();
        let guest = Guest { machine, memory, firmware: firmware.map(|_| &[][..]), content };
        guest.arguments(&Paths {
            status: "/dev/fd/7".to_owned(),
            content: "/tmp/with space,comma".to_owned(),
            firmware: firmware.map(str::to_owned),
        })
    }

    fn arguments(machine: QemuMachine) -> Vec<String> {
        let command_line = "log=info -- -append \"a b\"";
        arguments_for(machine, None, Content::Kernel { bytes: &[], command_line })
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
    fn firmware_gets_kernel_or_disk() {
        let firmware = Some("/tmp/rom");
        let kernel = Content::Kernel { bytes: &[], command_line: "x" };
        let arguments = arguments_for(QemuMachine::Pc, firmware, kernel);
        assert_eq!(value(&arguments, "-bios"), "/tmp/rom");
        assert_eq!(value(&arguments, "-kernel"), "/tmp/with space,comma");
        for command_line in [None, Some("log=info -- a,b")] {
            let disk = Content::Disk { file: &File::open("/dev/null").unwrap(), command_line };
            let arguments = arguments_for(QemuMachine::Pc, firmware, disk);
            let mut items = arguments.iter().filter(|argument| argument.starts_with("name=opt/"));
            assert_eq!(items.next().unwrap(), "name=opt/freehold/disk,file=/tmp/with space,,comma");
            let line = command_line.map(|_| "name=opt/freehold/command-line,string=log=info -- a,,b");
            assert_eq!(items.next().map(String::as_str), line);
            assert!(!arguments.iter().any(|argument| argument == "-append"));
        }
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
