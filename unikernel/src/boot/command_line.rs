//! The command line that is used: that of a file which the VMM hands over, or else the start info's.
//!
//! An image that is booted from a disk, or by a loader, has its command line from there. Whoever starts the machine can give
//! another for this boot, as QEMU's firmware configuration file [`FILE_COMMAND_LINE`]. Like the start info's it ends at its first
//! NUL, but needs none.

use super::BootError;
use crate::device::fw_cfg::{FwCfg, Registers, TooManyFiles};
use guest_interface::fw_cfg::FILE_COMMAND_LINE;
use guest_interface::layout::COMMAND_LINE_LEN_MAX;

/// Longest line in bytes, without a NUL.
const LINE_LEN_MAX: usize = COMMAND_LINE_LEN_MAX - 1;

impl From<TooManyFiles> for BootError {
    fn from(error: TooManyFiles) -> Self {
        Self::TooManyFirmwareFiles { files: error.files, max: error.max }
    }
}

/// The file, as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommandLineFile {
    bytes: [u8; COMMAND_LINE_LEN_MAX],
    len: usize,
}

impl CommandLineFile {
    /// Reads the file, if there is a device that has it.
    ///
    /// # Errors
    /// [`BootError::TooManyFirmwareFiles`], [`BootError::CommandLineFileTooLong`].
    pub(super) fn read(registers: impl Registers) -> Result<Option<Self>, BootError> {
        let Some(mut device) = FwCfg::find(registers) else {
            return Ok(None);
        };
        let Some(file) = device.file(FILE_COMMAND_LINE)? else {
            return Ok(None);
        };
        let mut bytes = [0; COMMAND_LINE_LEN_MAX];
        let too_long = BootError::CommandLineFileTooLong { len_bytes: file.len_bytes, max: LINE_LEN_MAX };
        let line = bytes.get_mut(..file.len_bytes as usize).ok_or(too_long)?;
        device.read(file, line);
        let len = line.iter().position(|&byte| byte == 0).unwrap_or(line.len());
        if len > LINE_LEN_MAX {
            return Err(too_long);
        }
        Ok(Some(Self { bytes, len }))
    }

    /// The line.
    ///
    /// # Errors
    /// [`BootError::CommandLineNotUtf8`].
    pub(super) fn line(&self) -> Result<&str, BootError> {
        text(&self.bytes[..self.len])
    }
}

/// A command line as text.
///
/// # Errors
/// [`BootError::CommandLineNotUtf8`].
pub(super) fn text(bytes: &[u8]) -> Result<&str, BootError> {
    let not_utf8 =
        |error: core::str::Utf8Error| BootError::CommandLineNotUtf8 { offset: error.valid_up_to() };
    core::str::from_utf8(bytes).map_err(not_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::fw_cfg::simulated::{Absent, Simulated, entry};
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    fn line_of(content: &[u8]) -> Result<String, BootError> {
        let device = Simulated::with_files(&[("etc/e820", b"x"), (FILE_COMMAND_LINE, content)]);
        CommandLineFile::read(device)?.expect("a file").line().map(ToString::to_string)
    }

    #[test]
    fn the_file_is_the_line() {
        assert_eq!(line_of(b"log=debug -- a \"b c\"").as_deref(), Ok("log=debug -- a \"b c\""));
        assert_eq!(line_of("-- ünï\n".as_bytes()).as_deref(), Ok("-- ünï\n"));
        assert_eq!(line_of(b"").as_deref(), Ok(""), "an empty line is one, too");
    }

    #[test]
    fn a_nul_ends_the_line() {
        assert_eq!(line_of(b"log=off\0").as_deref(), Ok("log=off"));
        assert_eq!(line_of(b"log=off\0 -- \xff").as_deref(), Ok("log=off"));
        assert_eq!(line_of(b"\0").as_deref(), Ok(""));
    }

    #[test]
    fn a_line_that_is_too_long_or_no_text_is_refused() {
        let longest = [b'x'; LINE_LEN_MAX];
        assert_eq!(line_of(&longest).map(|line| line.len()), Ok(4095));
        let refused = BootError::CommandLineFileTooLong { len_bytes: 4096, max: 4095 };
        assert_eq!(line_of(&[b'x'; 4096]), Err(refused));
        assert_eq!(line_of(&[&longest[..], b"\0"].concat()).map(|line| line.len()), Ok(4095));
        let refused = BootError::CommandLineFileTooLong { len_bytes: 4097, max: 4095 };
        assert_eq!(line_of(&[0; 4097]), Err(refused), "however short the text in it");
        assert_eq!(line_of(b"log=off \xff"), Err(BootError::CommandLineNotUtf8 { offset: 8 }));
        let truncated = &"ü".as_bytes()[..1];
        assert_eq!(line_of(truncated), Err(BootError::CommandLineNotUtf8 { offset: 0 }));
    }

    #[test]
    fn without_the_device_or_the_file_there_is_none() {
        assert_eq!(CommandLineFile::read(Absent(0xff)), Ok(None));
        assert_eq!(CommandLineFile::read(Simulated::with_files(&[])), Ok(None));
        let others = [("opt/freehold", &b"log=off"[..]), ("opt/freehold/command-lines", b"log=off")];
        assert_eq!(CommandLineFile::read(Simulated::with_files(&others)), Ok(None));
    }

    #[test]
    fn a_device_that_lies_is_believed_within_bounds() {
        let directory = |files: u32, len| -> Vec<u8> {
            [files.to_be_bytes().to_vec(), entry(len, 0x7fff, FILE_COMMAND_LINE)].concat()
        };
        for len_bytes in [4097, u32::MAX] {
            let refused = BootError::CommandLineFileTooLong { len_bytes, max: 4095 };
            assert_eq!(
                CommandLineFile::read(Simulated::with_directory(directory(1, len_bytes))),
                Err(refused)
            );
        }
        let many = Simulated::with_directory(directory(u32::MAX, 1));
        let refused = BootError::TooManyFirmwareFiles { files: u32::MAX, max: 1024 };
        assert_eq!(CommandLineFile::read(many), Err(refused));
        // A file whose item is missing reads as zeros.
        let file = CommandLineFile::read(Simulated::with_directory(directory(1, 100))).unwrap();
        assert_eq!(file.expect("a file").line(), Ok(""));
    }
}
