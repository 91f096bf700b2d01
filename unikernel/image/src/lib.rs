//! Packs a linked appliance into the image that ships.
//!
//! A packed image is what a loader needs and nothing more: an ELF header, program headers, and the bytes of the loadable
//! segments. Section headers, ELF symbols and debug information stay behind. In their place comes a table of the
//! functions' names, in the form of [`guest_interface::symbols`], as one more read-only segment behind the highest address
//! of the appliance; a program header of its own type and the locator inside the image both say where it is.
//!
//! The same input always gives the same image, byte for byte.

mod appliance;
mod error;
mod file;
mod names;
mod pack;

pub use error::{Error, ImageError};
pub use file::pack_file;
pub use pack::{Packed, Summary, pack};
