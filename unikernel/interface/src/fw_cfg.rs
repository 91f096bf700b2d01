//! QEMU's firmware configuration device (QEMU's docs/specs/fw_cfg), by which a VMM hands items to firmware and guest. An item
//! has a 16-bit key; files are items whose keys are in a directory.

/// Selector register: a 16-bit write of a key makes that item the current one, and its first byte the next.
pub const SELECTOR: u16 = 0x510;

/// Data register: an 8-bit read gives the next byte of the current item, 0 behind its end.
pub const DATA: u16 = 0x511;

/// DMA address register, 64 bits, big-endian: a 32-bit write of the high half of a descriptor's guest-physical address here, then one
/// of the low half at the next four ports, which starts the transfer.
pub const DMA: u16 = 0x514;

/// Key of the signature, [`SIGNATURE`].
pub const KEY_SIGNATURE: u16 = 0x0;
/// What tells that the device is there.
pub const SIGNATURE: [u8; 4] = *b"QEMU";

/// Key of the interface's features: a `u32`, little-endian.
pub const KEY_FEATURES: u16 = 0x1;
/// Feature bit: selector and data register. Always set.
pub const FEATURE_TRADITIONAL: u32 = 1 << 0;
/// Feature bit: [`DMA`].
pub const FEATURE_DMA: u32 = 1 << 1;

/// Key of the address of a kernel that the VMM has loaded: a `u32`, little-endian.
pub const KEY_KERNEL_ADDRESS: u16 = 0x07;
/// Key of its length in bytes from there: a `u32`, little-endian.
pub const KEY_KERNEL_LEN: u16 = 0x08;
/// Key of its PVH entry: a `u32`, little-endian.
pub const KEY_KERNEL_ENTRY: u16 = 0x10;
/// Key of its bytes, which QEMU gives for kernels of other boot protocols than PVH, to be put into memory by the firmware.
pub const KEY_KERNEL_DATA: u16 = 0x11;
/// Key of the length in bytes, with NUL, of its command line: a `u32`, little-endian.
pub const KEY_COMMAND_LINE_LEN: u16 = 0x14;
/// Key of its command line, with NUL.
pub const KEY_COMMAND_LINE: u16 = 0x15;

/// Key of the directory: the number of files, a big-endian `u32`, then [`DIRECTORY_ENTRY_LEN`] bytes for each: length in bytes
/// (big-endian `u32`), key (big-endian `u16`), two reserved bytes, and the name, filled up with NULs.
pub const KEY_FILE_DIRECTORY: u16 = 0x19;
/// Bytes of an entry of the directory.
pub const DIRECTORY_ENTRY_LEN: usize = 64;
/// Offset of the name in it.
pub const DIRECTORY_NAME_AT: usize = 8;
/// Key of the first file; those of others follow.
pub const KEY_FIRST_FILE: u16 = 0x20;

/// What the eight ports from [`DMA`] on read as.
pub const DMA_SIGNATURE: [u8; 8] = *b"QEMU CFG";

/// Flags in the first field of a DMA descriptor: control (big-endian `u32`), length in bytes (big-endian `u32`), guest-physical
/// address of the data (big-endian `u64`). The device clears control when it is done, or leaves the error flag there.
pub const DMA_ERROR: u32 = 1 << 0;
/// Copy from the item into memory.
pub const DMA_READ: u32 = 1 << 1;
/// Move on in the item.
pub const DMA_SKIP: u32 = 1 << 2;
/// Make the item whose key is in the upper 16 bits of control the current one, first.
pub const DMA_SELECT: u32 = 1 << 3;
/// Copy from memory into the item.
pub const DMA_WRITE: u32 = 1 << 4;

/// File: the memory map, for each range its start (`u64`), its length in bytes (`u64`) and its E820 type (`u32`), little-endian.
pub const FILE_MEMORY_MAP: &str = "etc/e820";

/// File: a command line that replaces the one that a boot image has.
pub const FILE_COMMAND_LINE: &str = "opt/freehold/command-line";

/// File: a disk image.
pub const FILE_DISK: &str = "opt/freehold/disk";

/// File: the record of the [host information](crate::host_information).
pub const FILE_HOST_INFORMATION: &str = "opt/freehold/host-information";
