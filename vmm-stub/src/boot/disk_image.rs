//! A disk image of `disk-image`: its command line, and the appliance's ELF file, which lies on it as it is.
//!
//! The disk is hostile input. Its loaders load the segments that its [header](image_header) has; here the ELF file itself is
//! loaded, after the same checks as one that is given alone, so the header must say the same of it. Both check the CRC-32 of
//! each segment: it covers all that is loaded, and costs much less than the SHA-256 of the file.

use crate::boot::image::{Image, Segment};
use crate::boot::image_file::{OpenFile, parse};
use crate::error::Error;
use crate::memory::size::MemoryLen;
use guest_interface::layout::COMMAND_LINE_LEN_MAX;
use image_header::{BLOCK_LEN, Header, HeaderError};

/// Why a disk image can't be booted. The texts are those of `disk-image inspect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DiskImageError {
    /// Its header is of another version.
    #[error("it has a header of version {0}, which this program does not read; make it again")]
    OtherVersion(u32),
    /// The end is missing.
    #[error("it is truncated: it has {len_bytes} bytes, and should have at least {expected}; make it again")]
    Truncated {
        /// Its length.
        len_bytes: u64,
        /// What the header demands.
        expected: u64,
    },
    /// Bytes differ from what was written.
    #[error("it is damaged: {part}; make it again")]
    Damaged {
        /// The part, and what is wrong with it.
        part: &'static str,
    },
}

const fn damaged(part: &'static str) -> DiskImageError {
    DiskImageError::Damaged { part }
}

/// A disk that has a header.
#[derive(Debug)]
pub(crate) struct DiskImage {
    file: OpenFile,
    header: Result<Header, HeaderError>,
}

impl DiskImage {
    /// A disk with this in the header's block.
    pub(crate) const fn new(file: OpenFile, header: Result<Header, HeaderError>) -> Self {
        Self { file, header }
    }

    /// The command line that is on the disk.
    ///
    /// # Errors
    /// [`Error::DiskImage`], [`Error::ReadImage`].
    pub(crate) fn command_line(&self) -> Result<String, Error> {
        let header = self.header()?;
        if header.command_line_len as usize > COMMAND_LINE_LEN_MAX {
            return Err(self.error(damaged("the command line is longer than a kernel takes")));
        }
        let mut line = self.part(header.command_line_block, header.command_line_len)?;
        if crc32fast::hash(&line) != header.command_line_crc {
            return Err(self.error(damaged("the command line's checksum is another")));
        }
        let is_terminated = line.pop() == Some(0) && !line.contains(&0);
        let text = is_terminated.then(|| String::from_utf8(line).ok()).flatten();
        text.ok_or_else(|| self.error(damaged("the command line is no text")))
    }

    /// Reads and checks the appliance.
    ///
    /// # Errors
    /// [`Error::DiskImage`], and all that an appliance in a file of its own can be refused for.
    pub(crate) fn read_image(&self, memory: MemoryLen) -> Result<Image, Error> {
        let header = self.header()?;
        let kernel = self.part(header.kernel_block, header.kernel_len)?;
        // First: an ELF file that was damaged seems to be anything.
        check_segments(header, &kernel).map_err(|source| self.error(source))?;
        let image = parse(&self.file, kernel, memory)?;
        if image.entry().pvh != header.entry || !describes(header, image.segments()) {
            return Err(self.error(damaged("the header does not describe the kernel")));
        }
        Ok(image)
    }

    /// The file alone.
    pub(crate) fn into_file(self) -> OpenFile {
        self.file
    }

    fn header(&self) -> Result<&Header, Error> {
        self.header.as_ref().map_err(|error| {
            self.error(match error {
                HeaderError::OtherVersion(version) => DiskImageError::OtherVersion(*version),
                HeaderError::NoHeader | HeaderError::Damaged => damaged("the header's checksum is another"),
            })
        })
    }

    /// Bytes on the disk from a block on.
    fn part(&self, block: u32, len_bytes: u32) -> Result<Vec<u8>, Error> {
        let offset = u64::from(block) * BLOCK_LEN as u64;
        let expected = offset + u64::from(len_bytes);
        if expected > self.file.len_bytes {
            let len_bytes = self.file.len_bytes;
            return Err(self.error(DiskImageError::Truncated { len_bytes, expected }));
        }
        self.file.read(offset, len_bytes.into())
    }

    fn error(&self, source: DiskImageError) -> Error {
        Error::DiskImage { path: self.file.path.clone(), source }
    }
}

/// Offset in the kernel's file of a segment of the header.
fn offset(header: &Header, segment: &image_header::Segment) -> Option<u64> {
    Some(u64::from(segment.block.checked_sub(header.kernel_block)?) * BLOCK_LEN as u64)
}

fn check_segments(header: &Header, kernel: &[u8]) -> Result<(), DiskImageError> {
    for segment in &header.segments {
        let bytes = offset(header, segment)
            .and_then(|offset| kernel.get(offset as usize..)?.get(..segment.disk_len as usize))
            .ok_or(damaged("the header does not describe the kernel"))?;
        if crc32fast::hash(bytes) != segment.crc {
            return Err(damaged("the kernel's checksum is another"));
        }
    }
    Ok(())
}

/// Whether the header has the segments of the ELF file. Those without bytes on the disk may be anywhere there.
fn describes(header: &Header, segments: &[Segment]) -> bool {
    let is_same = |(described, segment): (&image_header::Segment, &Segment)| {
        u64::from(described.address) == segment.address
            && u64::from(described.memory_len) == segment.memory_len
            && u64::from(described.disk_len) == segment.file_len
            && (segment.file_len == 0 || offset(header, described) == Some(segment.offset))
    };
    header.segments.len() == segments.len() && header.segments.iter().zip(segments).all(is_same)
}

#[cfg(test)]
#[path = "disk_image_tests.rs"]
mod tests;
