//! The guest-physical memory map that `vmm-stub` builds and guest images are linked for. Addresses and lengths are in
//! bytes.
//!
//! ```text
//! 0x0000_0000  RAM: boot data (start info, memory map, command line, host information, first page tables)
//! 0x0009_fc00  hole: where PCs have their BIOS data and ROMs; the ACPI tables from ACPI_TABLES on
//! 0x0010_0000  RAM: image at IMAGE_BASE, the rest free
//! 0xc000_0000  hole: device registers (local APIC, I/O APIC, virtio)
//! 0x1_0000_0000  RAM above 4 GiB, if any
//! ```

/// A 4 KiB page, the granularity of guest memory.
pub const PAGE_LEN: u64 = 4096;

/// End of the RAM below the BIOS hole.
pub const LOW_RAM_END: u64 = 0x9_fc00;

/// Start of the RAM above the BIOS hole. A kernel leaves everything below to boot data and firmware.
pub const HIGH_RAM_START: u64 = 0x10_0000;

/// Address an image is linked at; its first byte is its first segment.
pub const IMAGE_BASE: u64 = 0x20_0000;

/// Start of the device hole below 4 GiB; RAM beyond it continues at [`DEVICE_HOLE_END`].
pub const DEVICE_HOLE_START: u64 = 0xc000_0000;

/// End of the device hole.
pub const DEVICE_HOLE_END: u64 = 0x1_0000_0000;

/// Least RAM a machine can have: the image and room to work.
pub const MEMORY_LEN_MIN: u64 = 8 << 20;

/// Most RAM a machine can have: what one page table of 1 GiB leaves (512 of them) maps, less the device hole.
pub const MEMORY_LEN_MAX: u64 = 511 << 30;

/// `hvm_start_info` of the PVH boot protocol.
pub const START_INFO: u64 = 0x6000;

/// The memory map that the start info points to.
pub const MEMORY_MAP: u64 = 0x7000;

/// Most entries of a memory map that the kernel takes.
pub const MEMORY_MAP_ENTRIES_MAX: usize = 64;

/// The module list, and behind it the names of the modules.
pub const MODULE_LIST: u64 = 0x8000;

/// The [host information](crate::host_information) record.
pub const HOST_INFORMATION: u64 = 0x9000;

/// First page tables, for hosts whose guests start in 64-bit mode: one PML4, one PDPT, then page directories. KVM_PVM wants
/// the PML4 in an [odd page](crate::kvm_pvm::CR3_NATIVE).
pub const BOOT_PAGE_TABLES: u64 = 0xb000;
const _: () = assert!(BOOT_PAGE_TABLES & crate::kvm_pvm::CR3_NATIVE as u64 != 0);

/// The command line, a NUL-terminated string of at most [`COMMAND_LINE_LEN_MAX`] bytes with its NUL.
pub const COMMAND_LINE: u64 = 0x2_0000;

/// Longest command line with its terminating NUL.
pub const COMMAND_LINE_LEN_MAX: usize = 4096;

/// The ACPI tables, the RSDP first. They lie in the BIOS hole, in memory that no map tells the guest of as RAM, where a
/// guest that has no start info finds the RSDP: from 0xe_0000 to 1 MiB, at a multiple of 16 (ACPI specification 5.2.5.1).
pub const ACPI_TABLES: u64 = 0xe_0000;
const _: () =
    assert!(ACPI_TABLES >= 0xe_0000 && ACPI_TABLES < HIGH_RAM_START && ACPI_TABLES.is_multiple_of(16));
