//! What can go wrong, each as one line.

use guest_interface::symbols::LOCATOR_SECTION;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why no image was written.
#[derive(Debug, Error)]
pub enum Error {
    /// The appliance can't be read.
    #[error("can't read '{}': {source}", path.display())]
    Read {
        /// The appliance.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The appliance can't be made an image.
    #[error("'{}' {source}", path.display())]
    Image {
        /// The appliance.
        path: PathBuf,
        /// Why.
        source: ImageError,
    },
    /// The image can't be written.
    #[error("can't write '{}': {source}; give a path where you may write", path.display())]
    Write {
        /// The image.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Why an appliance can't be made an image. The texts continue a sentence that starts with its path.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The file is shorter than an ELF header.
    #[error("has {len_bytes} bytes, too few for an ELF file")]
    TooSmall {
        /// Its length.
        len_bytes: usize,
    },
    /// Not an ELF file of 64 bits, little-endian.
    #[error("is not a 64-bit ELF file; give the appliance that cargo built for x86_64-unknown-none")]
    NotElf,
    /// An ELF file, but of another kind than guests are.
    #[error("is not a static x86-64 executable: {reason}")]
    NotStaticExecutable {
        /// What is different.
        reason: &'static str,
    },
    /// A table or segment that contradicts the file.
    #[error("is damaged: {part} can't be read ({source})")]
    Damaged {
        /// What could not be read.
        part: &'static str,
        /// What the reader says.
        source: object::read::Error,
    },
    /// A program header with values that no linker writes.
    #[error("has a segment at {address:#x} that can't be packed: {reason}")]
    UnusableSegment {
        /// Its virtual address.
        address: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// PVH loaders look for their entry point in the one note segment.
    #[error(
        "has {count} note segments instead of one with the PVH entry; is it built on the crate 'unikernel'?"
    )]
    Notes {
        /// How many there are.
        count: usize,
    },
    /// Nowhere to say where the symbol table is.
    #[error(
        "has no section {LOCATOR_SECTION}; is it built on the crate 'unikernel', and not packed already?"
    )]
    NoLocator,
    /// The locator's section is there, but it is not 16 bytes that are loaded from the file.
    #[error(
        "has a section {LOCATOR_SECTION} that is not {} loaded bytes",
        guest_interface::symbols::Locator::LEN
    )]
    UnusableLocator,
    /// No function has a name.
    #[error("has no function symbols; build it without 'strip'")]
    NoSymbols,
    /// A table entry has 32 bits for an address.
    #[error("has a symbol at {address:#x}, out of the symbol table's reach")]
    SymbolOutOfRange {
        /// The symbol's address.
        address: u64,
    },
}
