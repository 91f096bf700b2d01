//! What a machine starts with ([`start`]), and what a guest finds then: the image ([`image`]), out of its file ([`image_file`]) or a disk image ([`disk_image`]),
//! the PVH start info with memory map and host information ([`start_info`]), the command line ([`command_line`]) with the
//! application's variables ([`environment`]), the ACPI tables ([`acpi`]) and, where guests start in 64-bit mode, page tables
//! ([`page_tables`]). All of it is written to the addresses of [`guest_interface::layout`]. A guest that [`firmware`] starts finds
//! most of it where that puts it.

pub(crate) mod acpi;
pub(crate) mod command_line;
pub(crate) mod disk_image;
pub(crate) mod environment;
pub(crate) mod firmware;
pub mod image;
pub(crate) mod image_file;
pub(crate) mod load;
pub(crate) mod page_tables;
pub(crate) mod start;
pub(crate) mod start_info;
