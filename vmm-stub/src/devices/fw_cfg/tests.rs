//! Both ways to read items, and everything that a guest can do wrong.

use super::items::Item;
use super::*;
use guest_interface::fw_cfg::{KEY_COMMAND_LINE, KEY_FIRST_FILE};

/// RAM in two parts with a hole between them. The second ends at the end of addresses that RAM can have.
const RAM_LEN: u64 = 0x2_0000;
const HOLE_END: u64 = 0x4_0000;
const UPPER_LEN: u64 = 0x1_0000;
const DESCRIPTOR: u64 = 0x100;

/// The items of the tests: a short one, and one of more than two parts.
fn short() -> Vec<u8> {
    b"log=info -- one".to_vec()
}

fn long() -> Vec<u8> {
    (0..2 * PART_LEN as u32 + 777).map(|index| (index / 3) as u8).collect()
}

fn device() -> FwCfg {
    let ranges = [
        (GuestAddress(0), RAM_LEN as usize),
        (GuestAddress(HOLE_END), UPPER_LEN as usize),
        (GuestAddress(ROM.start - 0x1000), 0x4_0000),
    ];
    let mut items = Items::new();
    items.set(KEY_COMMAND_LINE, short());
    items.add_file("long", Item::Bytes(long()));
    FwCfg::new(items, GuestMemory::from_ranges(&ranges).unwrap(), Arc::new(AtomicBool::new(false)))
}

fn descriptor(control: u32, len: u32, address: u64) -> [u8; DESCRIPTOR_LEN] {
    let mut bytes = [0; DESCRIPTOR_LEN];
    bytes[..4].copy_from_slice(&control.to_be_bytes());
    bytes[4..8].copy_from_slice(&len.to_be_bytes());
    bytes[8..].copy_from_slice(&address.to_be_bytes());
    bytes
}

/// Has the device work on a descriptor at an address, by its two registers.
fn start(device: &mut FwCfg, address: u64) {
    device.write(DMA, &((address >> 32) as u32).to_be_bytes());
    device.write(DMA_LOW, &(address as u32).to_be_bytes());
}

/// Writes a descriptor and has the device work on it. Returns what is in its control field then.
fn dma(device: &mut FwCfg, control: u32, len: u32, address: u64) -> u32 {
    device.memory.write_slice(&descriptor(control, len, address), GuestAddress(DESCRIPTOR)).unwrap();
    start(device, DESCRIPTOR);
    u32::from_be_bytes(device.memory.read_obj(GuestAddress(DESCRIPTOR)).unwrap())
}

fn memory(device: &FwCfg, address: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    device.memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
    bytes
}

const fn select(key: u16) -> u32 {
    (key as u32) << 16 | DMA_SELECT
}

#[test]
fn the_data_register_reads_on_in_the_selected_item() {
    let mut device = device();
    let read = |device: &mut FwCfg, len: usize| {
        let mut data = vec![0xa5; len];
        device.read(DATA, &mut data);
        data
    };
    assert_eq!(read(&mut device, 5), b"QEMU\0", "selected from the start");
    device.write(SELECTOR, &KEY_COMMAND_LINE.to_le_bytes());
    assert_eq!(read(&mut device, 1), b"l");
    assert_eq!(read(&mut device, 3), b"og=");
    assert_eq!(read(&mut device, 20), b"info -- one\0\0\0\0\0\0\0\0\0");
    assert_eq!(read(&mut device, 1), b"\0");
    device.write(SELECTOR, &KEY_COMMAND_LINE.to_le_bytes());
    assert_eq!(read(&mut device, 2), b"lo");
    for other in [&[0x15][..], &[0x15, 0, 0, 0], &[]] {
        device.write(SELECTOR, other);
    }
    assert_eq!(read(&mut device, 2), b"g=", "of another width");
    device.write(SELECTOR, &[0x15, 0x80]);
    assert_eq!(read(&mut device, 2), [0; 2], "an item that there is not");
}

#[test]
fn the_dma_register_reads_as_its_signature() {
    let mut device = device();
    for (port, expected) in
        [(0x514, &b"QEMU"[..]), (0x518, b" CFG"), (0x514, b"Q"), (0x51b, b"G"), (0x516, b"MU")]
    {
        let mut data = vec![0; expected.len()];
        device.read(port, &mut data);
        assert_eq!(data, expected);
    }
    for (port, len) in [(0x510, 2), (0x512, 1), (0x513, 4), (0x518, 8), (0x51b, 2), (0x514, 4096)] {
        let mut data = vec![0; len];
        device.read(port, &mut data);
        assert!(data.iter().all(|&byte| byte == NOBODY), "{port:#x}");
    }
}

#[test]
fn dma_selects_skips_and_reads() {
    let mut device = device();
    assert_eq!(dma(&mut device, select(KEY_COMMAND_LINE) | DMA_READ, 8, 0x1000), 0);
    assert_eq!(memory(&device, 0x1000, 9), b"log=info\0");
    assert_eq!(dma(&mut device, DMA_SKIP, 4, u64::MAX), 0);
    device.memory.write_slice(&[0xa5; 16], GuestAddress(0x2000)).unwrap();
    assert_eq!(dma(&mut device, DMA_READ, 10, HOLE_END), 0);
    assert_eq!(memory(&device, HOLE_END, 10), b"one\0\0\0\0\0\0\0");
    // Behind the end there are zeros, however far it skips.
    assert_eq!(dma(&mut device, select(KEY_COMMAND_LINE) | DMA_SKIP, u32::MAX, 0), 0);
    assert_eq!(dma(&mut device, DMA_SKIP, u32::MAX, 0), 0);
    assert_eq!(dma(&mut device, DMA_READ, 16, 0x2000), 0);
    assert_eq!(memory(&device, 0x2000, 16), [0; 16]);
    // Nothing to do, and all of memory untouched by it.
    assert_eq!(dma(&mut device, select(KEY_COMMAND_LINE), u32::MAX, u64::MAX), 0);
    assert_eq!(dma(&mut device, DMA_ERROR, u32::MAX, u64::MAX), 0);
    let mut data = [0; 3];
    device.read(DATA, &mut data);
    assert_eq!(&data, b"log", "both interfaces are at the same place");
}

#[test]
fn items_of_several_parts_are_copied_whole() {
    let mut device = device();
    let ranges = [(GuestAddress(0), 0x10_0000)];
    device.memory = GuestMemory::from_ranges(&ranges).unwrap();
    let long = long();
    let file = select(KEY_FIRST_FILE);
    assert_eq!(dma(&mut device, file | DMA_READ, long.len() as u32 + 99, 0x1001), 0);
    assert_eq!(memory(&device, 0x1001, long.len() + 99), [&long[..], &[0; 99]].concat());
    assert_eq!(dma(&mut device, file | DMA_SKIP, 50_001, 0), 0);
    assert_eq!(dma(&mut device, DMA_READ, PART_LEN as u32, 0x1000), 0);
    assert_eq!(memory(&device, 0x1000, PART_LEN), long[50_001..][..PART_LEN]);
}

#[test]
fn the_high_half_of_an_address_counts_once() {
    let mut device = device();
    device.memory.write_slice(&descriptor(DMA_WRITE, 0, 0), GuestAddress(DESCRIPTOR)).unwrap();
    start(&mut device, 1 << 32 | DESCRIPTOR);
    assert_eq!(memory(&device, DESCRIPTOR, 4), DMA_WRITE.to_be_bytes(), "there is no RAM");
    device.write(DMA_LOW, &(DESCRIPTOR as u32).to_be_bytes());
    assert_eq!(memory(&device, DESCRIPTOR, 4), DMA_ERROR.to_be_bytes());
    for other in [&[0, 0, 1][..], &[0, 1], &[1], &[], &[0; 8]] {
        device.write(DMA_LOW, other);
    }
}

#[test]
fn what_is_not_all_ram_of_the_guest_is_not_written_to() {
    let mut device = device();
    let rom = memory(&device, ROM.start, 0x2_0000);
    for (address, len) in [
        (RAM_LEN - 4, 5),
        (RAM_LEN, 1),
        (HOLE_END - 1, 2),
        (HOLE_END + UPPER_LEN - 1, 2),
        (0, u32::MAX),
        (u64::MAX, 1),
        (u64::MAX - 3, 8),
        (1 << 63, u32::MAX),
        (ROM.start, 1),
        (ROM.start - 1, 2),
        (ROM.end() - 1, 1),
        (ROM.start - 0x1000, 0x4_0000),
    ] {
        let done = dma(&mut device, select(KEY_FIRST_FILE) | DMA_READ, len, address);
        assert_eq!(done, DMA_ERROR, "{address:#x} {len:#x}");
    }
    assert_eq!(memory(&device, ROM.start, 0x2_0000), rom);
    assert_eq!(memory(&device, RAM_LEN - 4, 4), [0; 4], "not even its first bytes");
    for (address, len) in [(RAM_LEN - 4, 4), (ROM.end(), 1), (ROM.start - 1, 1), (u64::MAX, 0)] {
        let done = dma(&mut device, select(KEY_FIRST_FILE) | DMA_READ, len, address);
        assert_eq!(done, 0, "{address:#x} {len:#x}");
    }
    assert_eq!(dma(&mut device, select(KEY_COMMAND_LINE) | DMA_WRITE, 1, 0x1000), DMA_ERROR);
}

#[test]
fn a_descriptor_that_is_not_all_ram_is_ignored() {
    let mut device = device();
    let read = descriptor(select(KEY_COMMAND_LINE) | DMA_READ, 4, 0x1000);
    for address in [ROM.start - 8, ROM.start, ROM.end() - 8] {
        device.memory.write_slice(&read, GuestAddress(address)).unwrap();
    }
    device.memory.write_slice(&read[..8], GuestAddress(RAM_LEN - 8)).unwrap();
    for address in [
        ROM.start,
        ROM.start - 8,
        ROM.end() - 8,
        RAM_LEN - 8,
        RAM_LEN,
        HOLE_END - 8,
        u64::MAX,
        u64::MAX - 7,
        1 << 63,
    ] {
        start(&mut device, address);
    }
    assert_eq!(memory(&device, 0x1000, 4), [0; 4]);
    assert_eq!(memory(&device, ROM.start, 16), read);
}

/// It may copy over itself: what it says is read once.
#[test]
fn a_descriptor_is_copied_out_before_it_is_followed() {
    let mut device = device();
    let len = u64::from(2 * DESCRIPTOR_LEN as u32);
    assert_eq!(dma(&mut device, select(KEY_FIRST_FILE) | DMA_READ, len as u32, DESCRIPTOR - 8), 0);
    let mut expected = long()[..len as usize].to_vec();
    expected[8..12].fill(0);
    assert_eq!(memory(&device, DESCRIPTOR - 8, len as usize), expected);
}

#[test]
fn a_machine_that_shall_stop_is_not_held_up() {
    let mut device = device();
    device.stop.store(true, Ordering::Relaxed);
    assert_eq!(dma(&mut device, select(KEY_FIRST_FILE) | DMA_READ, 64, 0x1000), DMA_ERROR);
    assert_eq!(memory(&device, 0x1000, 64), [0; 64]);
}

/// Marsaglia's xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[(self.next() >> 32) as usize % items.len()]
    }

    /// Mostly near where something begins or ends, else anywhere.
    fn address(&mut self) -> u64 {
        let edges = [
            0,
            DESCRIPTOR,
            RAM_LEN,
            HOLE_END,
            HOLE_END + UPPER_LEN,
            ROM.start,
            ROM.end(),
            ROM.end() + 0x1_f000,
            1 << 32,
            u64::MAX,
        ];
        match self.next() % 8 {
            0 => self.next(),
            1 => self.next() % (2 * RAM_LEN),
            _ => self.one_of(&edges).wrapping_add(self.next() % 65).wrapping_sub(32),
        }
    }

    fn len(&mut self) -> u32 {
        match self.next() % 4 {
            0 => self.next() as u32,
            1 => (self.next() % (3 * PART_LEN as u64)) as u32,
            _ => (self.next() % 64) as u32,
        }
    }
}

/// All of memory and the device's state, as the specification has it, for descriptors of chance.
#[test]
fn random_descriptors_do_what_a_model_does() {
    let regions =
        [(0, RAM_LEN), (HOLE_END, HOLE_END + UPPER_LEN), (ROM.start - 0x1000, ROM.start + 0x3_f000)];
    let writable = |start: u64, len: u64| {
        let end = u128::from(start) + u128::from(len);
        let in_ram = regions.iter().any(|(from, to)| *from <= start && end <= u128::from(*to));
        let in_rom = start < ROM.end() && end > u128::from(ROM.start);
        (in_ram || len == 0) && !in_rom
    };
    let snapshot = |device: &FwCfg| -> Vec<Vec<u8>> {
        regions.iter().map(|(from, to)| memory(device, *from, (to - from) as usize)).collect()
    };
    let put = |memory: &mut Vec<Vec<u8>>, address: u64, bytes: &[u8]| {
        for ((from, to), content) in regions.iter().zip(memory) {
            if (*from..*to).contains(&address) {
                content[(address - from) as usize..][..bytes.len()].copy_from_slice(bytes);
            }
        }
    };
    let mut device = device();
    let mut random = Random(0x0bad_5eed);
    let (mut key, mut offset) = (KEY_SIGNATURE, 0_u64);
    let mut transfers = 0;
    for round in 0..1500 {
        let flags = random.next() as u32 & 0x1f;
        let wanted = random.one_of(&[KEY_SIGNATURE, KEY_COMMAND_LINE, KEY_FIRST_FILE, 0x21, 0xffff]);
        let (control, len, to) = (u32::from(wanted) << 16 | flags, random.len(), random.address());
        let at = if random.next().is_multiple_of(4) { random.address() } else { DESCRIPTOR };
        let bytes = descriptor(control, len, to);
        let is_there = writable(at, DESCRIPTOR_LEN as u64);
        if is_there {
            device.memory.write_slice(&bytes, GuestAddress(at)).unwrap();
        }
        let mut expected = snapshot(&device);
        if is_there {
            if control & DMA_SELECT != 0 {
                (key, offset) = (wanted, 0);
            }
            let item = match key {
                KEY_SIGNATURE => b"QEMU".to_vec(),
                KEY_COMMAND_LINE => short(),
                KEY_FIRST_FILE => long(),
                _ => Vec::new(),
            };
            let mut result = 0;
            if control & DMA_READ != 0 {
                if writable(to, len.into()) {
                    let rest = item.iter().copied().skip(offset as usize).chain(std::iter::repeat(0));
                    put(&mut expected, to, &rest.take(len as usize).collect::<Vec<_>>());
                    offset = (offset + u64::from(len)).min(item.len() as u64);
                    transfers += 1;
                } else {
                    result = DMA_ERROR;
                }
            } else if control & DMA_WRITE != 0 {
                result = DMA_ERROR;
            } else if control & DMA_SKIP != 0 {
                offset = (offset + u64::from(len)).min(item.len() as u64);
            }
            put(&mut expected, at, &result.to_be_bytes());
        }
        start(&mut device, at);
        assert!(snapshot(&device) == expected, "round {round}: {control:#x} {len:#x} {to:#x} at {at:#x}");
        assert_eq!((device.key, u64::from(device.offset)), (key, offset), "round {round}");
    }
    assert!(transfers > 100, "{transfers}");
}
