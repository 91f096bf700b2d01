//! The console doorbell: one port write prints a line that lies in guest memory (see [`guest_interface::console`]).
//!
//! The record is hostile. A line is printed whole if all of it lies in RAM and it is no longer than [`LINE_LEN_MAX`];
//! else nothing is printed, and the record is counted as dropped.

use crate::devices::console::Console;
use crate::devices::record;
use crate::memory::GuestMemory;
use guest_interface::console::LINE_LEN_MAX;
use std::io::Write;

/// The doorbell of one machine.
pub(crate) struct Doorbell {
    memory: GuestMemory,
    line: Vec<u8>,
    dropped_records: u64,
}

impl Doorbell {
    pub(crate) fn new(memory: GuestMemory) -> Self {
        Self { memory, line: Vec::with_capacity(LINE_LEN_MAX), dropped_records: 0 }
    }

    /// The guest wrote `data` to the doorbell port.
    pub(crate) fn ring<W: Write>(&mut self, data: &[u8], console: &mut Console<W>) {
        match record::fetch(&self.memory, data, LINE_LEN_MAX, &mut self.line) {
            Some(line) => console.print(line),
            None => self.dropped_records = self.dropped_records.saturating_add(1),
        }
    }

    pub(crate) const fn dropped_records(&self) -> u64 {
        self.dropped_records
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::record::{RECORD_LEN, Record};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use vm_memory::{Bytes, GuestAddress};

    const RAM_LEN: u64 = 0x10_000;
    const RECORD: u64 = 0x800;

    /// What a doorbell prints for one record, and how many records it drops.
    fn ring(address: u64, len_bytes: u32) -> (Vec<u8>, u64) {
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), RAM_LEN as usize)]).unwrap();
        let text: Vec<u8> = (0..RAM_LEN - 0x1000).map(|index| b'a' + (index % 23) as u8).collect();
        memory.write_slice(&text, GuestAddress(0x1000)).unwrap();
        memory.write_slice(&Record { address, len_bytes }.encode(), GuestAddress(RECORD)).unwrap();
        ring_at(memory, &(RECORD as u32).to_le_bytes())
    }

    fn ring_at(memory: GuestMemory, data: &[u8]) -> (Vec<u8>, u64) {
        let mut console = Console::new(Vec::new(), Arc::new(AtomicBool::new(false)));
        let mut doorbell = Doorbell::new(memory);
        doorbell.ring(data, &mut console);
        (console.output().clone(), doorbell.dropped_records())
    }

    #[test]
    fn a_line_is_printed_as_it_is() {
        assert_eq!(ring(0x1000, 5), (b"abcde".to_vec(), 0));
        assert_eq!(ring(0x1000, 0), (Vec::new(), 0), "an empty line is a line");
        let (longest, dropped) = ring(0x2000, LINE_LEN_MAX as u32);
        assert_eq!((longest.len(), dropped), (LINE_LEN_MAX, 0));
        assert_eq!(ring(RAM_LEN - 4, 4).0.len(), 4, "up to the end of RAM");
    }

    #[test]
    fn a_line_that_is_too_long_or_outside_ram_is_dropped_whole() {
        let dropped = (Vec::new(), 1);
        assert_eq!(ring(0x1000, LINE_LEN_MAX as u32 + 1), dropped);
        assert_eq!(ring(0x1000, u32::MAX), dropped);
        assert_eq!(ring(RAM_LEN - 4, 5), dropped);
        assert_eq!(ring(RAM_LEN, 1), dropped);
        assert_eq!(ring(u64::MAX, 1), dropped);
        assert_eq!(ring(u64::MAX - 3, 8), dropped, "wraps around");
    }

    #[test]
    fn a_record_outside_ram_or_of_another_width_is_dropped() {
        let memory = || GuestMemory::from_ranges(&[(GuestAddress(0), RAM_LEN as usize)]).unwrap();
        let dropped = (Vec::new(), 1);
        for address in [RAM_LEN as u32 - RECORD_LEN as u32 + 1, RAM_LEN as u32, u32::MAX] {
            assert_eq!(ring_at(memory(), &address.to_le_bytes()), dropped, "{address:#x}");
        }
        for len in [0, 1, 2, 3, 5, 8] {
            assert_eq!(ring_at(memory(), &vec![0; len]), dropped, "{len} bytes");
        }
    }
}
