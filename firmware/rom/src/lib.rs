//! The ROM: firmware that a virtual machine starts at its reset vector. It boots the kernel that the VMM has loaded, or that of a
//! disk image, and enters it by PVH.
//!
//! This library is all of it that touches no hardware: [`boot::prepare`] is the sequence, and each other module a part of it. It
//! allocates nothing and has no variables; what it works in is [`low_memory`]. The binary beside it is the ROM itself.
#![cfg_attr(not(test), no_std)]

pub mod ata;
pub mod boot;
pub mod command_line;
pub mod disk;
pub mod failure;
pub mod fw_cfg;
pub mod image;
pub mod kernel;
pub mod low_memory;
pub mod memory_map;
pub mod ram;
pub mod start_info;
