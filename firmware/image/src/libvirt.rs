//! The libvirt domain of an image (libvirt's formatdomain): a machine with little more than that disk and a console.

use crate::error::{Error, LibvirtError};
use crate::format::Format;
use crate::partition_table::efi_partition;
use guest_interface::fw_cfg::FILE_COMMAND_LINE;
use std::borrow::Cow;
use std::path::Path;
use std::str::FromStr;

/// What the machine starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF, or what else of UEFI libvirt finds on the host.
    Efi,
}

/// An amount of memory: a whole number of MiB or GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    mib: u32,
}

/// No number with a unit.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{text}' is no amount of memory such as 64M or 2G")]
pub struct MemoryError {
    /// What was given.
    pub text: String,
}

impl FromStr for Memory {
    type Err = MemoryError;

    fn from_str(text: &str) -> Result<Self, MemoryError> {
        let wrong = || MemoryError { text: text.to_owned() };
        let (number, unit_mib) = match text.split_at_checked(text.len().saturating_sub(1)) {
            Some((number, "M")) => (number, 1),
            Some((number, "G")) => (number, 1024),
            _ => return Err(wrong()),
        };
        let mib = number.parse::<u32>().ok().and_then(|number| number.checked_mul(unit_mib));
        mib.filter(|mib| *mib > 0).map(|mib| Self { mib }).ok_or_else(wrong)
    }
}

/// A machine.
#[derive(Clone, Copy, Debug)]
pub struct Domain<'a> {
    /// Its name.
    pub name: &'a str,
    /// The image, from the root folder on.
    pub image: &'a Path,
    /// The image's format.
    pub format: Format,
    /// The disk in the image.
    pub disk: &'a [u8],
    /// Its memory.
    pub memory: Memory,
    /// Its firmware.
    pub firmware: Firmware,
    /// The command line that replaces the image's.
    pub command_line: Option<&'a str>,
}

impl Domain<'_> {
    /// The domain's XML, for `virsh create` or `virsh define`.
    ///
    /// # Errors
    /// [`Error::Libvirt`] if the image is none that libvirt can start, or a text can't be written in XML.
    pub fn to_xml(&self) -> Result<String, Error> {
        self.xml().map_err(|source| Error::Libvirt { path: self.image.into(), source })
    }

    fn xml(&self) -> Result<String, LibvirtError> {
        let (driver, device, target) = match self.format {
            Format::Raw => ("raw", "disk", "sda"),
            Format::Qcow2 => ("qcow2", "disk", "sda"),
            Format::Vhd => ("vpc", "disk", "sda"),
            Format::Vmdk => ("vmdk", "disk", "sda"),
            Format::Iso => ("raw", "cdrom", "sda"),
            Format::Oci => return Err(LibvirtError::Container),
        };
        let boot = if self.format == Format::Iso { "cdrom" } else { "hd" };
        if self.name.is_empty() || self.name.contains('/') {
            return Err(LibvirtError::Name);
        }
        let name = escape(self.name)?;
        let image = escape(self.image.to_str().ok_or(LibvirtError::Text)?)?;
        let mib = self.memory.mib;
        // The loader is not signed.
        let (os, secure_boot) = match self.firmware {
            Firmware::Bios => ("<os>", ""),
            Firmware::Efi if efi_partition(self.disk).is_none() => return Err(LibvirtError::NoUefiLoader),
            Firmware::Efi => (
                "<os firmware='efi'>",
                "\n    <firmware>\n      <feature enabled='no' name='secure-boot'/>\n    </firmware>",
            ),
        };
        let command_line = match self.command_line {
            None => String::new(),
            Some(line) => format!(
                "\n  <sysinfo type='fwcfg'>\n    <entry name='{FILE_COMMAND_LINE}'>{}</entry>\n  </sysinfo>",
                escape(line)?
            ),
        };
        let readonly = if self.format == Format::Iso { "\n      <readonly/>" } else { "" };
        Ok(format!(
            "<!-- On a host without KVM, type is 'qemu', and the mode of the cpu 'maximum'. -->
<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>{mib}</memory>
  <vcpu>1</vcpu>{command_line}
  {os}
    <type arch='x86_64' machine='q35'>hvm</type>{secure_boot}
    <boot dev='{boot}'/>
  </os>
  <features>
    <acpi/>
    <apic/>
  </features>
  <cpu mode='host-passthrough'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='{device}'>
      <driver name='qemu' type='{driver}'/>
      <source file='{image}'/>
      <target dev='{target}' bus='sata'/>{readonly}
    </disk>
    <serial type='pty'>
      <target type='isa-serial' port='0'/>
    </serial>
    <console type='pty'>
      <target type='serial' port='0'/>
    </console>
    <memballoon model='none'/>
  </devices>
</domain>"
        ))
    }
}

/// Text as XML 1.0 has it, within an element or within apostrophes.
fn escape(text: &str) -> Result<Cow<'_, str>, LibvirtError> {
    if text.chars().any(|char| char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}')) {
        return Err(LibvirtError::Text);
    }
    if !text.contains(['&', '<', '>', '\'']) {
        return Ok(text.into());
    }
    let escaped =
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;");
    Ok(escaped.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(format: Format) -> Domain<'static> {
        let (name, image) = ("hello", Path::new("/images/hello"));
        let (memory, firmware) = (Memory { mib: 256 }, Firmware::Bios);
        Domain { name, image, format, disk: &[], memory, firmware, command_line: None }
    }

    #[test]
    fn a_disk_is_a_disk_and_an_iso_a_cd() {
        let xml = domain(Format::Vhd).to_xml().unwrap();
        for part in [
            "<memory unit='MiB'>256</memory>",
            "  <os>\n",
            "<boot dev='hd'/>",
            "device='disk'>\n      <driver name='qemu' type='vpc'/>\n      <source file='/images/hello'/>",
        ] {
            assert!(xml.contains(part), "{part}: {xml}");
        }
        assert!(!xml.contains("sysinfo") && !xml.contains("readonly"));
        let xml = domain(Format::Iso).to_xml().unwrap();
        for part in
            ["<boot dev='cdrom'/>", "device='cdrom'>\n      <driver name='qemu' type='raw'/>", "<readonly/>"]
        {
            assert!(xml.contains(part), "{part}: {xml}");
        }
    }

    #[test]
    fn texts_are_escaped() {
        let mut domain = domain(Format::Raw);
        domain.name = "a&b";
        domain.image = Path::new("/it's <here>");
        domain.command_line = Some("log=info -- \"<&>\"");
        let xml = domain.to_xml().unwrap();
        for part in [
            "<name>a&amp;b</name>",
            "<source file='/it&apos;s &lt;here&gt;'/>",
            "<entry name='opt/freehold/command-line'>log=info -- \"&lt;&amp;&gt;\"</entry>",
        ] {
            assert!(xml.contains(part), "{part}: {xml}");
        }
    }

    #[test]
    fn what_can_not_be_started_is_refused() {
        type Change = fn(&mut Domain<'_>);
        let cases: [(Change, &str); 6] = [
            (|domain| domain.format = Format::Oci, "container image"),
            (|domain| domain.firmware = Firmware::Efi, "no EFI system partition"),
            (|domain| domain.name = "", "--name"),
            (|domain| domain.name = "a/b", "--name"),
            (|domain| domain.command_line = Some("a\nb"), "XML"),
            (|domain| domain.image = Path::new("/a\u{1}"), "XML"),
        ];
        for (change, expected) in cases {
            let mut domain = domain(Format::Raw);
            change(&mut domain);
            let error = domain.to_xml().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn memory_has_a_unit() {
        assert_eq!("64M".parse(), Ok(Memory { mib: 64 }));
        assert_eq!("2G".parse(), Ok(Memory { mib: 2048 }));
        for wrong in ["", "M", "0M", "64", "64K", "-1G", "5000000G", "1ü"] {
            assert!(wrong.parse::<Memory>().is_err(), "{wrong}");
        }
    }
}
