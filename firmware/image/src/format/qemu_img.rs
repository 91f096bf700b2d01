//! `qemu-img`, which converts between raw disks and what is best left to it, and qcow2.
//!
//! It is given files without a name, so that nothing of them is left behind, whatever ends it or us.

use super::{DISK_LEN_MAX, bytes_at, check_disk_len};
use crate::error::ImageError;
use std::env;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use thiserror::Error;

const TOOL: &str = "qemu-img";

/// The longest file that it can have made, in bytes: that of the longest disk, and what a format adds.
const OUTPUT_LEN_MAX: u64 = DISK_LEN_MAX + (1 << 30);

/// What a qcow2 image begins with (QEMU's docs/interop/qcow2).
pub(super) const QCOW2_MAGIC: &[u8] = b"QFI\xfb";

/// Offsets in its header of where the name of a backing file is, and of the disk's length: `u64`, big-endian.
const BACKING_FILE_AT: usize = 8;
const DISK_LEN_AT: usize = 24;

/// The incompatible features (`u64`, big-endian, from version 3 on), one of which says that data is in another file.
const VERSION_AT: usize = 4;
const FEATURES_AT: usize = 72;
const EXTERNAL_DATA: u64 = 1 << 2;

/// Why `qemu-img` did not do its work.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum QemuImgError {
    /// It is in no folder of PATH.
    #[error(
        "{TOOL} is missing, and needed for this format; install it: apt-get install qemu-utils (Fedora: dnf install qemu-img)"
    )]
    Missing,
    /// It can't be started.
    #[error("{TOOL} can't be started: {0}")]
    Start(String),
    /// There is no room for its input or output.
    #[error("no temporary file for {TOOL} in '{}': {error}", folder.display())]
    TemporaryFile {
        /// Where files were to be; the environment variable TMPDIR names it.
        folder: PathBuf,
        /// What the system says.
        error: String,
    },
    /// It ended otherwise than by success.
    #[error("{TOOL} failed: {0}")]
    Failed(String),
}

/// Converts an image from one of QEMU's formats to another, with options for the latter.
pub(super) fn convert(image: &[u8], from: &str, to: &str, options: &[&str]) -> Result<Vec<u8>, QemuImgError> {
    let mut input = tempfile::tempfile().map_err(temporary_file)?;
    input.write_all(image).map_err(temporary_file)?;
    let output = tempfile::tempfile().map_err(temporary_file)?;
    run(Command::new(TOOL).args(["convert", "-m", "1", "-f", from, "-O", to]).args(options), input, output)
}

fn temporary_file(error: io::Error) -> QemuImgError {
    QemuImgError::TemporaryFile { folder: env::temp_dir(), error: error.to_string() }
}

fn run(command: &mut Command, input: File, mut output: File) -> Result<Vec<u8>, QemuImgError> {
    // Both names lead to the files, which the tool opens anew.
    let ended = command
        .args(["/dev/stdin", "/dev/stdout"])
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output.try_clone().map_err(temporary_file)?))
        .output();
    let ended = ended.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => QemuImgError::Missing,
        _ => QemuImgError::Start(error.to_string()),
    })?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        let said = said.lines().map(str::trim).find(|line| !line.is_empty());
        let said = said.map(|line| line.strip_prefix("qemu-img: ").unwrap_or(line));
        return Err(QemuImgError::Failed(said.map_or_else(|| ended.status.to_string(), str::to_owned)));
    }
    // An image can say its disk's length twice, and to the tool another one than to us.
    if output.metadata().map_err(temporary_file)?.len() > OUTPUT_LEN_MAX {
        return Err(QemuImgError::Failed("what it has made is longer than 3 GiB".to_owned()));
    }
    let mut bytes = Vec::new();
    output.rewind().map_err(temporary_file)?;
    output.read_to_end(&mut bytes).map_err(temporary_file)?;
    Ok(bytes)
}

/// Converts an image of which the disk's length is known to be small. What the tool can't read is damaged.
pub(super) fn to_raw(image: &[u8], from: &str) -> Result<Vec<u8>, ImageError> {
    convert(image, from, "raw", &[]).map_err(ImageError::Unreadable)
}

/// Takes the disk out of a qcow2 image, all of which has to be in that file.
pub(super) fn unpack_qcow2(image: &[u8]) -> Result<Vec<u8>, ImageError> {
    let number = |at| bytes_at(image, at).map(u64::from_be_bytes);
    let (backing_file, disk_len) = number(BACKING_FILE_AT).zip(number(DISK_LEN_AT)).ok_or(SHORT)?;
    let version = bytes_at(image, VERSION_AT).map(u32::from_be_bytes).ok_or(SHORT)?;
    let features = if version >= 3 { number(FEATURES_AT).ok_or(SHORT)? } else { 0 };
    if backing_file != 0 || features & EXTERNAL_DATA != 0 {
        return Err(ImageError::Foreign { reason: "part of it is in another file" });
    }
    check_disk_len(disk_len)?;
    to_raw(image, "qcow2")
}

const SHORT: ImageError = ImageError::Damaged { part: "its end is missing" };

#[cfg(test)]
mod tests {
    use super::*;

    fn run_shell(script: &str) -> Result<Vec<u8>, QemuImgError> {
        let (mut input, output) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        input.write_all(b"content").unwrap();
        run(Command::new("/bin/sh").args(["-c", script, "sh"]), input, output)
    }

    #[test]
    fn the_tool_reads_and_writes_the_files() {
        assert_eq!(run_shell(r#"cat "$1" > "$2"; echo more >> "$2""#), Ok(b"contentmore\n".to_vec()));
    }

    #[test]
    fn what_is_too_long_is_not_read() {
        let failed = QemuImgError::Failed("what it has made is longer than 3 GiB".to_owned());
        assert_eq!(run_shell(r#"truncate -s 4G "$2""#), Err(failed));
    }

    #[test]
    fn a_failure_is_told_by_the_tools_first_line() {
        let said = |text: &str| Err(QemuImgError::Failed(text.to_owned()));
        assert_eq!(run_shell("echo; echo qemu-img: no room >&2; echo more >&2; exit 1"), said("no room"));
        assert_eq!(run_shell("exit 3"), said("exit status: 3"));
        assert_eq!(run_shell("kill -9 $$"), said("signal: 9 (SIGKILL)"));
    }

    #[test]
    fn a_missing_tool_is_told_with_its_package() {
        let file = || tempfile::tempfile().unwrap();
        let error = run(&mut Command::new("/no/such/tool"), file(), file()).unwrap_err();
        assert_eq!(error, QemuImgError::Missing);
        assert!(error.to_string().contains("apt-get install qemu-utils"), "{error}");
    }

    #[test]
    fn images_that_lead_elsewhere_are_not_followed() {
        let mut image = [0; 104];
        image[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        let reason = |image: &[u8]| unpack_qcow2(image).unwrap_err().to_string();
        image[BACKING_FILE_AT + 7] = 112;
        assert!(reason(&image).contains("part of it is in another file"));
        image[BACKING_FILE_AT + 7] = 0;
        image[FEATURES_AT + 7] = 4;
        assert!(reason(&image).contains("part of it is in another file"));
        image[FEATURES_AT + 7] = 0;
        image[DISK_LEN_AT + 1] = 1;
        assert!(reason(&image).contains("larger than 2 GiB"));
        assert!(reason(&image[..50]).contains("its end is missing"));
    }
}
