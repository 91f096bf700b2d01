//! What the VMM told us: `hvm_start_info` of the PVH boot protocol (Xen's public header
//! `arch-x86/hvm/start_info.h`), read into values of our own before anything can overwrite it.

use super::BootError;
use super::command_line;
use super::fields::{u32_at, u64_at};
use crate::memory::AddressRange;
use crate::memory::ram::MapEntry;
use guest_interface::host_information::{self, HostInformation};
use guest_interface::layout::{COMMAND_LINE_LEN_MAX, LOW_RAM_END, MEMORY_MAP_ENTRIES_MAX};

/// `XEN_HVM_START_MAGIC_VALUE`.
const MAGIC: u32 = 0x336e_c578;
/// First version with a memory map.
const VERSION_WITH_MEMORY_MAP: u32 = 1;
/// `XEN_HVM_MEMMAP_TYPE_RAM`.
const MEMORY_TYPE_RAM: u32 = 1;
/// Most modules that are read.
const MODULES_MAX: usize = 8;

const MODULE_LEN: u64 = 32;
const MAP_ENTRY_LEN: u64 = 24;

/// Read access to physical memory. The trait is the seam for tests.
pub(super) trait PhysicalMemory {
    /// Fills `bytes` from `address` on, or returns `None` if that is not readable.
    fn read(&self, address: u64, bytes: &mut [u8]) -> Option<()>;
}

/// What the kernel keeps of the start info.
#[derive(Debug)]
pub(crate) struct StartInfo {
    map: [MapEntry; MEMORY_MAP_ENTRIES_MAX],
    map_len: usize,
    modules: [AddressRange; MODULES_MAX],
    modules_len: usize,
    command_line: [u8; COMMAND_LINE_LEN_MAX],
    command_line_len: usize,
    /// The host information and the address of its record, if the VMM is one that gives it.
    pub(crate) host_information: Option<(HostInformation, u64)>,
    /// The address of the ACPI root system description pointer, if the VMM says one.
    pub(crate) rsdp: Option<u64>,
}

impl StartInfo {
    /// Reads the start info at `address`.
    ///
    /// # Errors
    /// [`BootError`] when it is not there, too old, or names what can't be read.
    pub(super) fn read(memory: &impl PhysicalMemory, address: u64) -> Result<Self, BootError> {
        let mut header = [0; 56];
        memory.read(address, &mut header).ok_or(BootError::Unreadable { what: "start info", address })?;
        let (magic, version) = (u32_at(&header, 0), u32_at(&header, 4));
        if magic != MAGIC {
            return Err(BootError::NoStartInfo { address, magic });
        }
        if version < VERSION_WITH_MEMORY_MAP {
            return Err(BootError::NoMemoryMap { version });
        }
        let mut info = Self {
            map: [const { MapEntry { range: 0..0, is_ram: false } }; MEMORY_MAP_ENTRIES_MAX],
            map_len: 0,
            modules: [const { 0..0 }; MODULES_MAX],
            modules_len: 0,
            command_line: [0; COMMAND_LINE_LEN_MAX],
            command_line_len: 0,
            host_information: None,
            rsdp: Some(u64_at(&header, 32)).filter(|address| *address != 0),
        };
        info.read_modules(memory, u64_at(&header, 16), u32_at(&header, 12))?;
        info.read_command_line(memory, u64_at(&header, 24))?;
        info.read_map(memory, u64_at(&header, 40), u32_at(&header, 48))?;
        Ok(info)
    }

    /// The memory map as given.
    pub(crate) fn map(&self) -> impl Iterator<Item = MapEntry> + Clone {
        self.map[..self.map_len].iter().cloned()
    }

    /// Where modules lie.
    pub(crate) fn modules(&self) -> impl Iterator<Item = AddressRange> {
        self.modules[..self.modules_len].iter().cloned()
    }

    /// The command line.
    ///
    /// # Errors
    /// [`BootError::CommandLineNotUtf8`].
    pub(crate) fn command_line(&self) -> Result<&str, BootError> {
        command_line::text(&self.command_line[..self.command_line_len])
    }

    fn read_map(
        &mut self,
        memory: &impl PhysicalMemory,
        address: u64,
        entries: u32,
    ) -> Result<(), BootError> {
        if entries as usize > MEMORY_MAP_ENTRIES_MAX {
            return Err(BootError::MemoryMapTooLong { entries, max: MEMORY_MAP_ENTRIES_MAX });
        }
        for index in 0..u64::from(entries) {
            let mut entry = [0; MAP_ENTRY_LEN as usize];
            let entry_address = address.wrapping_add(index * MAP_ENTRY_LEN);
            let unreadable = BootError::Unreadable { what: "memory map", address: entry_address };
            memory.read(entry_address, &mut entry).ok_or(unreadable)?;
            let start = u64_at(&entry, 0);
            let range = start..start.saturating_add(u64_at(&entry, 8));
            self.map[self.map_len] = MapEntry { range, is_ram: u32_at(&entry, 16) == MEMORY_TYPE_RAM };
            self.map_len += 1;
        }
        Ok(())
    }

    fn read_command_line(&mut self, memory: &impl PhysicalMemory, address: u64) -> Result<(), BootError> {
        if address == 0 {
            return Ok(());
        }
        for index in 0..COMMAND_LINE_LEN_MAX {
            let byte_address = address.wrapping_add(index as u64);
            let byte = &mut self.command_line[index..=index];
            let unreadable = BootError::Unreadable { what: "command line", address: byte_address };
            memory.read(byte_address, byte).ok_or(unreadable)?;
            if byte == [0] {
                self.command_line_len = index;
                return Ok(());
            }
        }
        Err(BootError::CommandLineTooLong { max: COMMAND_LINE_LEN_MAX - 1 })
    }

    fn read_modules(
        &mut self,
        memory: &impl PhysicalMemory,
        address: u64,
        count: u32,
    ) -> Result<(), BootError> {
        if count as usize > MODULES_MAX {
            return Err(BootError::TooManyModules { modules: count, max: MODULES_MAX });
        }
        for index in 0..u64::from(count) {
            let mut module = [0; MODULE_LEN as usize];
            let module_address = address.wrapping_add(index * MODULE_LEN);
            let unreadable = BootError::Unreadable { what: "module list", address: module_address };
            memory.read(module_address, &mut module).ok_or(unreadable)?;
            let start = u64_at(&module, 0);
            self.modules[self.modules_len] = start..start.saturating_add(u64_at(&module, 8));
            self.modules_len += 1;
            let range = &self.modules[self.modules_len - 1];
            // The guest writes into the record later on, so it must be whole, aligned, and in RAM that the kernel leaves
            // alone.
            let is_usable = start.is_multiple_of(8)
                && range.end - range.start >= host_information::LEN as u64
                && range.end <= LOW_RAM_END;
            if is_usable && is_host_information(memory, u64_at(&module, 16)) {
                let mut record = [0; host_information::LEN];
                let unreadable = BootError::Unreadable { what: "host information", address: start };
                memory.read(start, &mut record).ok_or(unreadable)?;
                self.host_information =
                    HostInformation::decode(&record).map(|information| (information, start));
            }
        }
        Ok(())
    }
}

/// Whether the module name at `address` is that of the host information.
fn is_host_information(memory: &impl PhysicalMemory, address: u64) -> bool {
    let mut name = [0; host_information::MODULE_NAME.len() + 1];
    let read = memory.read(address, &mut name);
    read.is_some() && name.strip_suffix(&[0]) == Some(host_information::MODULE_NAME.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    const LEN: usize = 0x4000;

    /// The first 16 KiB of a machine.
    struct Memory(Vec<u8>);

    impl PhysicalMemory for Memory {
        fn read(&self, address: u64, bytes: &mut [u8]) -> Option<()> {
            let start = usize::try_from(address).ok()?;
            bytes.copy_from_slice(self.0.get(start..start.checked_add(bytes.len())?)?);
            Some(())
        }
    }

    impl Memory {
        fn put(&mut self, address: usize, bytes: &[u8]) {
            self.0[address..address + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Start info at 0x100, two map entries at 0x200, command line at 0x300, one module at 0x400 with its name at 0x500
    /// and its record at 0x600, RSDP beyond what is there.
    fn machine() -> Memory {
        let mut memory = Memory(vec![0; LEN]);
        memory.put(0x100, &MAGIC.to_le_bytes());
        memory.put(0x104, &1u32.to_le_bytes());
        memory.put(0x10c, &1u32.to_le_bytes());
        for (offset, address) in [(0x110, 0x400u64), (0x118, 0x300), (0x120, 0xe_0010), (0x128, 0x200)] {
            memory.put(offset, &address.to_le_bytes());
        }
        memory.put(0x130, &2u32.to_le_bytes());
        memory.put(0x208, &0x9_fc00u64.to_le_bytes());
        memory.put(0x210, &1u32.to_le_bytes());
        memory.put(0x218, &0xfee0_0000u64.to_le_bytes());
        memory.put(0x220, &0x1000u64.to_le_bytes());
        memory.put(0x228, &2u32.to_le_bytes());
        memory.put(0x300, b"log=debug -- a\0");
        memory.put(0x400, &0x600u64.to_le_bytes());
        memory.put(0x408, &(host_information::LEN as u64).to_le_bytes());
        memory.put(0x410, &0x500u64.to_le_bytes());
        memory.put(0x500, b"freehold.host\0");
        memory.put(
            0x600,
            &HostInformation { doorbell_port: 0x99, tsc_hz: None, result_port: Some(0x98) }.encode(),
        );
        memory
    }

    #[test]
    fn all_that_the_vmm_says_is_read() {
        let info = StartInfo::read(&machine(), 0x100).unwrap();
        let map: Vec<_> = info.map().collect();
        let ram = MapEntry { range: 0..0x9_fc00, is_ram: true };
        assert_eq!(map, [ram, MapEntry { range: 0xfee0_0000..0xfee0_1000, is_ram: false }]);
        assert_eq!(info.command_line(), Ok("log=debug -- a"));
        assert!(info.modules().eq(core::iter::once(0x600..0x600 + host_information::LEN as u64)));
        let information = HostInformation { doorbell_port: 0x99, tsc_hz: None, result_port: Some(0x98) };
        assert_eq!(info.host_information, Some((information, 0x600)));
        assert_eq!(info.rsdp, Some(0xe_0010));
    }

    #[test]
    fn another_module_is_not_host_information() {
        let mut memory = machine();
        memory.put(0x500, b"freehold.host2");
        assert_eq!(StartInfo::read(&memory, 0x100).unwrap().host_information, None);
    }

    #[test]
    fn host_information_that_the_guest_could_not_write_to_is_not_used() {
        for (address, value) in
            [(0x400, 0x604_u64), (0x408, host_information::LEN as u64 - 1), (0x400, LOW_RAM_END - 8)]
        {
            let mut memory = machine();
            memory.put(address, &value.to_le_bytes());
            let info = StartInfo::read(&memory, 0x100).unwrap();
            assert_eq!(info.host_information, None, "{value:#x} at {address:#x}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let broken = |address, bytes: &[u8]| {
            let mut memory = machine();
            memory.put(address, bytes);
            StartInfo::read(&memory, 0x100).unwrap_err()
        };
        let far = 0x7fff_ffffu64.to_le_bytes();
        assert_eq!(broken(0x100, &[0]), BootError::NoStartInfo { address: 0x100, magic: MAGIC & !0xff });
        assert_eq!(broken(0x104, &[0]), BootError::NoMemoryMap { version: 0 });
        assert_eq!(broken(0x130, &[65]), BootError::MemoryMapTooLong { entries: 65, max: 64 });
        assert_eq!(broken(0x10c, &[9]), BootError::TooManyModules { modules: 9, max: 8 });
        assert_eq!(broken(0x128, &far), BootError::Unreadable { what: "memory map", address: 0x7fff_ffff });
        assert_eq!(broken(0x110, &far), BootError::Unreadable { what: "module list", address: 0x7fff_ffff });
        assert_eq!(broken(0x118, &far), BootError::Unreadable { what: "command line", address: 0x7fff_ffff });
        let endless = [b'x'; COMMAND_LINE_LEN_MAX];
        let mut memory = machine();
        memory.put(0x1000, &endless);
        memory.put(0x118, &0x1000u64.to_le_bytes());
        assert_eq!(StartInfo::read(&memory, 0x100).unwrap_err(), BootError::CommandLineTooLong { max: 4095 });
        let mut memory = machine();
        memory.put(0x304, &[0xff]);
        let info = StartInfo::read(&memory, 0x100).unwrap();
        assert_eq!(info.command_line(), Err(BootError::CommandLineNotUtf8 { offset: 4 }));
    }

    #[test]
    fn no_rsdp_is_none() {
        let mut memory = machine();
        memory.put(0x120, &[0; 8]);
        assert_eq!(StartInfo::read(&memory, 0x100).unwrap().rsdp, None);
    }

    #[test]
    fn no_command_line_is_an_empty_one() {
        let mut memory = machine();
        memory.put(0x118, &[0; 8]);
        assert_eq!(StartInfo::read(&memory, 0x100).unwrap().command_line(), Ok(""));
    }
}
