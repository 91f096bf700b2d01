//! Loads an image into guest memory.

use crate::boot::image::Image;
use crate::error::Error;
use crate::memory::GuestMemory;
use linux_loader::loader::{Elf, KernelLoader};
use std::io::Cursor;

/// Loads the segments of a checked image. What a segment has in memory beyond its bytes in the file stays zero, because
/// guest memory is new.
///
/// # Errors
/// [`Error::LoadImage`] for notes that the check does not read and the loader does, or for memory that is not the one the
/// image was checked for.
pub(crate) fn load(image: &Image, memory: &GuestMemory) -> Result<(), Error> {
    // No offset: only then does the loader accept a PVH image.
    Elf::load(memory, None, &mut Cursor::new(image.bytes()), None).map(drop).map_err(Error::LoadImage)
}
