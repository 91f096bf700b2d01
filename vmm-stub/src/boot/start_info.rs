//! The PVH start info with what it points to (Xen's public/arch-x86/hvm/start_info.h, version 1): memory map, command
//! line, ACPI tables, and one module, the host information.

use crate::boot::acpi;
use crate::error::Error;
use crate::memory::GuestMemory;
use crate::memory::layout::{Region, usable_regions};
use crate::memory::size::MemoryLen;
use guest_interface::host_information::{self, HostInformation};
use guest_interface::layout::{COMMAND_LINE, HOST_INFORMATION, MEMORY_MAP, MODULE_LIST, START_INFO};
use linux_loader::loader::elf::start_info::{
    XEN_HVM_MEMMAP_TYPE_RAM, XEN_HVM_START_MAGIC_VALUE, hvm_memmap_table_entry, hvm_modlist_entry,
    hvm_start_info,
};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

/// Version 1 added the memory map.
const VERSION: u32 = 1;
const MODULE_NAME: u64 = MODULE_LIST + size_of::<hvm_modlist_entry>() as u64;

/// Writes everything that a guest with this many processors is told to its memory. `command_line` is what
/// [`build`](crate::boot::command_line::build) made.
///
/// # Errors
/// [`Error::WriteGuest`], if the memory is not laid out as [`MemoryLen`] implies.
pub(crate) fn write(
    memory: &GuestMemory,
    memory_len: MemoryLen,
    command_line: &str,
    information: &HostInformation,
    processors: u8,
) -> Result<(), Error> {
    write_all(memory, memory_len, command_line, information, processors)
        .map_err(|source| Error::WriteGuest(source.into()))
}

fn write_all(
    memory: &GuestMemory,
    memory_len: MemoryLen,
    command_line: &str,
    information: &HostInformation,
    processors: u8,
) -> Result<(), GuestMemoryError> {
    let mut memmap_entries = 0;
    for (index, region) in (0..).zip(usable_regions(memory_len)) {
        let offset = index * size_of::<hvm_memmap_table_entry>() as u64;
        memory.write_obj(memory_map_entry(region), GuestAddress(MEMORY_MAP + offset))?;
        memmap_entries += 1;
    }

    let module = hvm_modlist_entry {
        paddr: HOST_INFORMATION,
        size: host_information::LEN as u64,
        cmdline_paddr: MODULE_NAME,
        reserved: 0,
    };
    memory.write_obj(module, GuestAddress(MODULE_LIST))?;
    write_string(memory, host_information::MODULE_NAME, MODULE_NAME)?;
    memory.write_slice(&information.encode(), GuestAddress(HOST_INFORMATION))?;
    write_string(memory, command_line, COMMAND_LINE)?;

    let start_info = hvm_start_info {
        magic: XEN_HVM_START_MAGIC_VALUE,
        version: VERSION,
        nr_modules: 1,
        modlist_paddr: MODULE_LIST,
        cmdline_paddr: COMMAND_LINE,
        rsdp_paddr: acpi::write(memory, processors)?,
        memmap_paddr: MEMORY_MAP,
        memmap_entries,
        ..Default::default()
    };
    memory.write_obj(start_info, GuestAddress(START_INFO))
}

fn memory_map_entry(region: Region) -> hvm_memmap_table_entry {
    hvm_memmap_table_entry {
        addr: region.start,
        size: region.len_bytes,
        type_: XEN_HVM_MEMMAP_TYPE_RAM,
        reserved: 0,
    }
}

/// Writes a NUL-terminated string.
fn write_string(memory: &GuestMemory, string: &str, address: u64) -> Result<(), GuestMemoryError> {
    memory.write_slice(string.as_bytes(), GuestAddress(address))?;
    memory.write_obj(0_u8, GuestAddress(address + string.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::layout::{
        BOOT_PAGE_TABLES, COMMAND_LINE_LEN_MAX, DEVICE_HOLE_END, DEVICE_HOLE_START, HIGH_RAM_START,
        LOW_RAM_END,
    };
    use guest_interface::ports;
    use vm_memory::GuestMemoryBackend;

    const INFORMATION: HostInformation = HostInformation {
        doorbell_port: ports::DOORBELL,
        tsc_hz: Some(3_000_000_000),
        result_port: Some(ports::RESULT),
    };

    fn written(len_bytes: u64, command_line: &str) -> GuestMemory {
        let memory_len = MemoryLen::new(len_bytes).unwrap();
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        write(&memory, memory_len, command_line, &INFORMATION, 1).unwrap();
        memory
    }

    fn string(memory: &GuestMemory, address: u64) -> String {
        let bytes = (address..).map(|at| memory.read_obj::<u8>(GuestAddress(at)).unwrap());
        bytes.take_while(|&byte| byte != 0).map(char::from).collect()
    }

    #[test]
    fn a_guest_finds_everything_from_the_start_info() {
        let memory = written(6 << 30, "log=info -- x");
        let info: hvm_start_info = memory.read_obj(GuestAddress(START_INFO)).unwrap();
        assert_eq!((info.magic, info.version), (0x336e_c578, 1));
        let signature: [u8; 8] = memory.read_obj(GuestAddress(info.rsdp_paddr)).unwrap();
        assert_eq!(&signature, b"RSD PTR ");
        assert_eq!(string(&memory, info.cmdline_paddr), "log=info -- x");

        let map: Vec<_> = (0..u64::from(info.memmap_entries))
            .map(|index| memory.read_obj(GuestAddress(info.memmap_paddr + index * 24)).unwrap())
            .map(|entry: hvm_memmap_table_entry| (entry.type_, entry.addr, entry.size))
            .collect();
        let expected = [
            (1, 0, LOW_RAM_END),
            (1, HIGH_RAM_START, DEVICE_HOLE_START - HIGH_RAM_START),
            (1, DEVICE_HOLE_END, (6 << 30) - DEVICE_HOLE_START),
        ];
        assert_eq!(map, expected);

        assert_eq!(info.nr_modules, 1);
        let module: hvm_modlist_entry = memory.read_obj(GuestAddress(info.modlist_paddr)).unwrap();
        assert_eq!(string(&memory, module.cmdline_paddr), host_information::MODULE_NAME);
        assert_eq!(module.size, host_information::LEN as u64);
        let mut record = [0; host_information::LEN];
        memory.read_slice(&mut record, GuestAddress(module.paddr)).unwrap();
        assert_eq!(HostInformation::decode(&record), Some(INFORMATION));
    }

    #[test]
    fn the_longest_command_line_stays_in_low_ram() {
        let longest = "x".repeat(COMMAND_LINE_LEN_MAX - 1);
        let memory = written(16 << 20, &longest);
        assert_eq!(string(&memory, COMMAND_LINE), longest);
        const { assert!(COMMAND_LINE + COMMAND_LINE_LEN_MAX as u64 <= LOW_RAM_END) };
    }

    #[test]
    fn the_boot_data_does_not_overlap() {
        let memory_map_len = 3 * size_of::<hvm_memmap_table_entry>() as u64;
        let ranges = [
            (START_INFO, size_of::<hvm_start_info>() as u64),
            (MEMORY_MAP, memory_map_len),
            (MODULE_LIST, MODULE_NAME - MODULE_LIST + host_information::MODULE_NAME.len() as u64 + 1),
            (HOST_INFORMATION, host_information::LEN as u64),
            (BOOT_PAGE_TABLES, crate::boot::page_tables::LEN as u64),
            (COMMAND_LINE, COMMAND_LINE_LEN_MAX as u64),
        ];
        for pair in ranges.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?}");
        }
    }

    #[test]
    fn memory_that_is_too_small_is_an_error() {
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), 0x8000)]).unwrap();
        assert_eq!(memory.num_regions(), 1);
        let result = write(&memory, MemoryLen::new(16 << 20).unwrap(), "", &INFORMATION, 1);
        assert!(matches!(result, Err(Error::WriteGuest(_))));
    }
}
