//! What firmware is given to boot a guest with: the items of its [device](crate::devices::fw_cfg).
//!
//! Firmware writes the PVH start info itself, of what it finds there: the memory map, and the record of the host information. The
//! ACPI tables lie in memory, as for a guest that starts without firmware.

use crate::boot::image::Segment;
use crate::boot::start::{Appliance, Payload};
use crate::devices::fw_cfg::items::{Item, Items};
use crate::memory::layout::{Region, usable_regions};
use crate::memory::size::MemoryLen;
use guest_interface::fw_cfg::{
    FILE_COMMAND_LINE, FILE_DISK, FILE_HOST_INFORMATION, FILE_MEMORY_MAP, KEY_COMMAND_LINE,
    KEY_COMMAND_LINE_LEN, KEY_KERNEL_ADDRESS, KEY_KERNEL_ENTRY, KEY_KERNEL_LEN,
};
use guest_interface::host_information::HostInformation;
use guest_interface::layout::DEVICE_HOLE_START;

/// RAM, as E820 and PVH call it (ACPI specification 15.1).
const E820_RAM: u32 = 1;

/// All items of a machine with this much memory.
pub(crate) fn items(memory: MemoryLen, information: &HostInformation, payload: &Payload) -> Items {
    let mut items = Items::new();
    items.add_file(FILE_MEMORY_MAP, Item::Bytes(memory_map(memory)));
    items.add_file(FILE_HOST_INFORMATION, Item::Bytes(information.encode().to_vec()));
    match payload {
        Payload::Appliance(Appliance { image, command_line, .. }) => {
            let (address, end) = extent(image.segments());
            items.set_number(KEY_KERNEL_ADDRESS, address);
            items.set_number(KEY_KERNEL_LEN, end - address);
            items.set_number(KEY_KERNEL_ENTRY, image.entry().pvh);
            let line = [command_line.as_bytes(), &[0]].concat();
            items.set_number(KEY_COMMAND_LINE_LEN, line.len() as u32);
            items.set(KEY_COMMAND_LINE, line);
        }
        Payload::Disk { disk, command_line } => {
            items.add_file(FILE_DISK, Item::Disk(disk.clone()));
            if let Some(line) = command_line {
                // Without a NUL, as QEMU gives a string.
                items.add_file(FILE_COMMAND_LINE, Item::Bytes(line.as_bytes().to_vec()));
            }
        }
    }
    items
}

/// The ranges of the start info's memory map.
fn memory_map(memory: MemoryLen) -> Vec<u8> {
    let range = |region: Region| {
        [&region.start.to_le_bytes()[..], &region.len_bytes.to_le_bytes(), &E820_RAM.to_le_bytes()].concat()
    };
    usable_regions(memory).flat_map(range).collect()
}

/// First address of an image, and the one behind its last below the device hole. An image has a segment there, that of its PVH
/// entry; segments above 4 GiB have no place in what firmware is told.
fn extent(segments: &[Segment]) -> (u32, u32) {
    let below = segments.iter().filter(|segment| segment.address < DEVICE_HOLE_START);
    let start = below.clone().map(|segment| segment.address).min().unwrap_or(0);
    let end = below.map(|segment| segment.end()).max().unwrap_or(0);
    (start as u32, end as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::start::Disk;
    use guest_interface::fw_cfg::{
        DIRECTORY_ENTRY_LEN, DIRECTORY_NAME_AT, KEY_FILE_DIRECTORY, KEY_FIRST_FILE,
    };
    use guest_interface::ports;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    const INFORMATION: HostInformation =
        HostInformation { doorbell_port: ports::DOORBELL, tsc_hz: Some(7), result_port: None };

    fn content(items: &Items, key: u16) -> Vec<u8> {
        let mut bytes = vec![0; items.len_bytes(key) as usize];
        items.read(key, 0, &mut bytes).unwrap();
        bytes
    }

    /// The names and contents of all files.
    fn files(items: &Items) -> Vec<(String, Vec<u8>)> {
        let directory = content(items, KEY_FILE_DIRECTORY);
        let entries = directory[4..].chunks_exact(DIRECTORY_ENTRY_LEN).zip(KEY_FIRST_FILE..);
        let name =
            |entry: &[u8]| String::from_utf8_lossy(&entry[DIRECTORY_NAME_AT..]).trim_end_matches('\0').into();
        entries.map(|(entry, key)| (name(entry), content(items, key))).collect()
    }

    fn disk(content: &[u8]) -> Disk {
        let file = File::from(memfd_create(c"disk", MFdFlags::MFD_CLOEXEC).unwrap());
        file.write_all_at(content, 0).unwrap();
        Disk { file: Arc::new(file), len_bytes: content.len() as u32 }
    }

    #[test]
    fn firmware_finds_map_information_and_disk() {
        let memory = MemoryLen::new(5 << 30).unwrap();
        let payload = Payload::Disk { disk: disk(b"disk"), command_line: Some("log=off".to_owned()) };
        let files = files(&items(memory, &INFORMATION, &payload));
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["etc/e820", "opt/freehold/host-information", "opt/freehold/disk", "opt/freehold/command-line"]
        );
        let ranges = [(0, 0x9_fc00_u64), (0x10_0000_u64, 0xbff0_0000), (4 << 30, 2 << 30)];
        let map =
            ranges.map(|(start, len)| [&start.to_le_bytes()[..], &len.to_le_bytes(), &[1, 0, 0, 0]].concat());
        assert_eq!(files[0].1, map.concat());
        assert_eq!(files[1].1, INFORMATION.encode());
        assert_eq!((&*files[2].1, &*files[3].1), (&b"disk"[..], &b"log=off"[..]));
    }

    #[test]
    fn a_kernel_reaches_from_its_first_segment_to_its_last_below_4_gib() {
        let segment = |address, memory_len| Segment { offset: 0, file_len: 0, address, memory_len };
        let low = [segment(0x20_0000, 0x1000), segment(0x20_3000, 0x500)];
        assert_eq!(extent(&low), (0x20_0000, 0x20_3500));
        assert_eq!(extent(&[&low[..], &[segment(4 << 30, 0x1000)]].concat()), (0x20_0000, 0x20_3500));
        let up_to_the_hole = [segment(0x10_0000, DEVICE_HOLE_START - 0x10_0000)];
        assert_eq!(extent(&up_to_the_hole), (0x10_0000, 0xc000_0000));
    }

    #[test]
    fn without_another_command_line_there_is_none() {
        let memory = MemoryLen::new(16 << 20).unwrap();
        let payload = Payload::Disk { disk: disk(b""), command_line: None };
        let items = items(memory, &INFORMATION, &payload);
        assert!(files(&items).iter().all(|(name, _)| name != FILE_COMMAND_LINE));
        assert_eq!(content(&items, KEY_KERNEL_ENTRY), []);
    }
}
