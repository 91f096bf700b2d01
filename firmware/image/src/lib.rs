//! Disk images: a raw disk that a BIOS boots, and UEFI firmware if it has the loader for that, with an appliance and its command
//! line on it.
//!
//! | module | what it is about |
//! |---|---|
//! | [`kernel`] | what of an appliance is loaded, and where |
//! | [`command_line`] | what the guest is told |
//! | [`disk`] | the layout of a disk |
//! | [`format`](mod@format) | what is made of a disk: images of several formats |
//! | `system_partition` | the part of it that UEFI firmware reads |
//! | `partition_table` | which parts there are, and where |
//! | [`inspect`] | what is on a disk, if all of it is as it was written |
//! | [`libvirt`] | the machine that starts an image |
//! | [`file`] | writing it as a whole, or not at all |
//! | [`error`] | what can go wrong |

pub mod command_line;
pub mod disk;
pub mod error;
pub mod file;
pub mod format;
pub mod inspect;
pub mod kernel;
pub mod libvirt;
mod partition_table;
mod system_partition;
#[cfg(test)]
mod test_appliance;
