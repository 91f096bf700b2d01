//! The formats of an image, all of them made from a raw disk: the same disk always gives the same bytes.
//!
//! | module | format |
//! |---|---|
//! | [`qemu_img`] | qcow2, and the tool that makes it and the next |
//! | [`vmdk`] | VMware's |
//! | [`vhd`] | Hyper-V's and Azure's |
//! | [`iso`] | a CD that is a disk, too |
//! | [`oci`] | a container image with the disk in it |

mod iso;
mod oci;
mod qemu_img;
mod vhd;
mod vmdk;

pub use qemu_img::QemuImgError;

use crate::disk::Layout;
use crate::error::{Error, ImageError, PackError};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Blocks of a mebibyte.
const MIB_BLOCKS: u64 = 2048;

/// The longest disk in a container that is looked into, in bytes. A kernel ends below 1 GiB in memory.
const DISK_LEN_MAX: u64 = 2 << 30;

/// A format of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The disk as it is.
    Raw,
    /// QEMU's.
    Qcow2,
    /// A fixed VHD: the disk, and a footer.
    Vhd,
    /// VMware's, sparse, in one file.
    Vmdk,
    /// An ISO 9660 file system that boots from a CD, and from a disk.
    Iso,
    /// An archive with the layout of an OCI image, whose one layer has the disk.
    Oci,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] = [Self::Raw, Self::Qcow2, Self::Vhd, Self::Vmdk, Self::Iso, Self::Oci];

    /// Its name, which is also what a file's name ends with.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vhd => "vhd",
            Self::Vmdk => "vmdk",
            Self::Iso => "iso",
            Self::Oci => "oci",
        }
    }

    /// What it wants of the disk in it.
    #[must_use]
    pub const fn layout(self) -> Layout {
        match self {
            Self::Raw | Self::Qcow2 | Self::Oci => Layout::RAW,
            Self::Vhd => vhd::LAYOUT,
            Self::Vmdk => vmdk::LAYOUT,
            Self::Iso => iso::LAYOUT,
        }
    }

    /// Makes an image of a disk that was laid out for the format. `path` is where it will lie: some images name themselves.
    ///
    /// # Errors
    /// [`PackError`] if the format has no room for the disk, or its tool is missing or fails.
    pub fn pack(self, disk: Vec<u8>, path: &Path) -> Result<Vec<u8>, PackError> {
        match self {
            Self::Raw => Ok(disk),
            Self::Qcow2 => qemu_img::convert(&disk, "raw", "qcow2", &[]).map_err(PackError::from),
            Self::Vhd => Ok(vhd::pack(disk)),
            Self::Vmdk => vmdk::pack(&disk, path),
            Self::Iso => iso::pack(disk),
            Self::Oci => oci::pack(&disk),
        }
    }

    /// The format of a file, by what it begins or ends with. What is nothing else is raw.
    #[must_use]
    pub fn recognize(image: &[u8]) -> Self {
        if image.starts_with(qemu_img::QCOW2_MAGIC) {
            Self::Qcow2
        } else if image.starts_with(vmdk::MAGIC) {
            Self::Vmdk
        } else if oci::is_archive(image) {
            Self::Oci
        } else if iso::is_iso(image) {
            Self::Iso
        } else if vhd::is_vhd(image) {
            Self::Vhd
        } else {
            Self::Raw
        }
    }

    /// Takes the disk out of an image of this format, and checks what is around it.
    ///
    /// # Errors
    /// [`ImageError`] if the image is not as this program makes them, or its tool is missing.
    pub fn unpack(self, image: Vec<u8>) -> Result<Vec<u8>, ImageError> {
        match self {
            Self::Raw => Ok(image),
            Self::Qcow2 => qemu_img::unpack_qcow2(&image),
            Self::Vhd => vhd::unpack(image),
            Self::Vmdk => vmdk::unpack(&image),
            Self::Iso => iso::unpack(image),
            Self::Oci => oci::unpack(&image),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| Error::UnknownFormat { format: name.to_owned() })
    }
}

/// A number in a container, if the container is as long as that.
fn bytes_at<const LEN: usize>(image: &[u8], at: usize) -> Option<[u8; LEN]> {
    image.get(at..)?.first_chunk().copied()
}

/// Refuses what would take too much memory.
fn check_disk_len(len_bytes: u64) -> Result<(), ImageError> {
    if len_bytes <= DISK_LEN_MAX {
        Ok(())
    } else {
        Err(ImageError::Foreign { reason: "its disk is larger than 2 GiB" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Content, make};
    use crate::test_appliance::appliance;

    /// A disk that the format can hold; a VHD's own would be larger.
    fn small_disk(format: Format) -> Vec<u8> {
        disk(if format == Format::Iso { format } else { Format::Raw })
    }

    /// A disk as the format wants it.
    pub(super) fn disk(format: Format) -> Vec<u8> {
        let (appliance, path) = (appliance(), Path::new("folder/tiny"));
        let content =
            Content { path, appliance: &appliance, command_line: "log=info -- one", uefi_loader: None };
        make(&content, format.layout()).unwrap()
    }

    #[test]
    fn names_and_formats_belong_together() {
        for format in Format::ALL {
            assert_eq!(format.name().parse::<Format>().unwrap(), format);
        }
        let error = "vdi".parse::<Format>().unwrap_err().to_string();
        assert_eq!(error, "format 'vdi' is not known; there are: raw, qcow2, vhd, vmdk, iso, oci");
    }

    /// Those that need no tool; the system tests have all of them.
    #[test]
    fn what_was_packed_is_recognized_and_unpacked() {
        for format in [Format::Raw, Format::Vhd, Format::Iso, Format::Oci] {
            let disk = small_disk(format);
            let image = format.pack(disk.clone(), Path::new("image")).unwrap();
            assert_eq!(format.pack(disk.clone(), Path::new("image")).unwrap(), image, "{format}");
            assert_eq!(Format::recognize(&image), format);
            let unpacked = format.unpack(image).unwrap();
            crate::inspect::inspect(&unpacked).unwrap();
            if format != Format::Iso {
                assert_eq!(unpacked, disk, "{format}");
            }
        }
    }

    /// No cut makes it panic, or look whole.
    #[test]
    fn what_is_truncated_is_refused() {
        for format in [Format::Vhd, Format::Iso, Format::Oci] {
            let image = format.pack(small_disk(format), Path::new("image")).unwrap();
            // Behind the disk's end there is the footer of a VHD, without which a raw disk is left, or an archive's end.
            let end = image.len() - if format == Format::Iso { 0 } else { 1024 };
            for len in (0..end).step_by(end / 101).chain([end - 1]) {
                let cut = image[..len].to_vec();
                let disk = Format::recognize(&cut).unpack(cut);
                assert!(disk.and_then(|disk| crate::inspect::inspect(&disk)).is_err(), "{format}, {len}");
            }
        }
    }
}
