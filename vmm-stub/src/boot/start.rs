//! What a machine boots, and how: an appliance at its entry, or firmware that boots an appliance or a disk.

use crate::boot::command_line;
use crate::boot::image::Image;
use crate::boot::image_file::{ImageFile, OpenFile};
use crate::error::Error;
use crate::memory::firmware::Firmware;
use crate::memory::size::MemoryLen;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Where a machine starts.
#[derive(Debug)]
pub(crate) enum Start {
    /// At the entry of an image.
    Appliance(Appliance),
    /// Where a processor does after a reset, in firmware.
    Firmware { firmware: Firmware, payload: Payload },
}

/// What firmware shall boot.
#[derive(Debug)]
pub(crate) enum Payload {
    /// An image that is in memory when the machine starts.
    Appliance(Appliance),
    /// What is on a disk, whatever that is; with another command line than its own, if one is needed.
    Disk { disk: Disk, command_line: Option<String> },
}

/// An image, checked for the machine's memory, and its command line.
#[derive(Debug)]
pub(crate) struct Appliance {
    pub(crate) image: Image,
    pub(crate) command_line: String,
}

/// A disk of less than 4 GiB: the file, and its length in bytes when it was opened.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) file: Arc<File>,
    pub(crate) len_bytes: u32,
}

impl Start {
    /// Reads an image's file and the firmware, if there is some. `change` makes the guest's command line of the one that the
    /// image says.
    ///
    /// A disk for firmware is not checked: whatever is wrong with it, the firmware finds and says.
    ///
    /// # Errors
    /// For what can't be read, is damaged, or is no image for this machine; those of `change`.
    pub(crate) fn read(
        image: &Path,
        firmware: Option<&Path>,
        memory: MemoryLen,
        change: impl Fn(&str) -> Result<String, Error>,
    ) -> Result<Self, Error> {
        let file = ImageFile::open(image)?;
        let Some(firmware) = firmware else {
            return Appliance::read(&file, memory, change).map(Self::Appliance);
        };
        let payload = match file {
            ImageFile::Elf(_) => Payload::Appliance(Appliance::read(&file, memory, change)?),
            ImageFile::Disk(disk) => {
                let command_line = match disk.command_line() {
                    Ok(own) => command_line::replacement(&own, change(&own)?),
                    Err(_) => None,
                };
                Payload::Disk { disk: Disk::new(disk.into_file())?, command_line }
            }
            ImageFile::Unknown(file) => Payload::Disk { disk: Disk::new(file)?, command_line: None },
        };
        Ok(Self::Firmware { firmware: Firmware::read(firmware)?, payload })
    }

    /// The firmware, if there is some.
    pub(crate) const fn firmware(&self) -> Option<&Firmware> {
        match self {
            Self::Firmware { firmware, .. } => Some(firmware),
            Self::Appliance(_) => None,
        }
    }

    /// The image, unless it is firmware that reads it.
    pub(crate) const fn image(&self) -> Option<&Image> {
        match self {
            Self::Appliance(appliance) | Self::Firmware { payload: Payload::Appliance(appliance), .. } => {
                Some(&appliance.image)
            }
            Self::Firmware { payload: Payload::Disk { .. }, .. } => None,
        }
    }
}

impl Appliance {
    fn read(
        file: &ImageFile,
        memory: MemoryLen,
        change: impl Fn(&str) -> Result<String, Error>,
    ) -> Result<Self, Error> {
        let own = match file {
            ImageFile::Elf(_) | ImageFile::Unknown(_) => command_line::DEFAULT.to_owned(),
            ImageFile::Disk(disk) => disk.command_line()?,
        };
        Ok(Self { command_line: change(&own)?, image: file.read_image(memory)? })
    }
}

impl Disk {
    fn new(file: OpenFile) -> Result<Self, Error> {
        match u32::try_from(file.len_bytes) {
            // QEMU's fw_cfg takes no file of this length.
            Ok(len_bytes) if len_bytes < u32::MAX => Ok(Self { file: Arc::new(file.into_file()), len_bytes }),
            _ => Err(Error::DiskTooLong { path: file.path, len_bytes: file.len_bytes }),
        }
    }
}
