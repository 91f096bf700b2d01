//! The result doorbell: one port write hands over a document that lies in guest memory (see
//! [`guest_interface::result`]).
//!
//! The record is hostile. A document counts if all of it lies in RAM and it is no longer than [`RESULT_LEN_MAX`]; else
//! the one before stays, and the record is counted as dropped. Memory is bounded by two documents.

use crate::devices::record;
use crate::memory::GuestMemory;
use crate::result::Published;
use guest_interface::result::RESULT_LEN_MAX;

/// The result doorbell of one machine.
pub(crate) struct ResultDoorbell {
    memory: GuestMemory,
    arriving: Vec<u8>,
    published: Published,
}

impl ResultDoorbell {
    pub(crate) fn new(memory: GuestMemory) -> Self {
        Self { memory, arriving: Vec::new(), published: Published::default() }
    }

    /// The guest wrote `data` to the result port.
    pub(crate) fn ring(&mut self, data: &[u8]) {
        if record::fetch(&self.memory, data, RESULT_LEN_MAX, &mut self.arriving).is_some() {
            std::mem::swap(self.published.document.get_or_insert_default(), &mut self.arriving);
        } else {
            self.published.dropped = self.published.dropped.saturating_add(1);
        }
    }

    /// Takes out what came so far.
    pub(crate) fn take(&mut self) -> Published {
        std::mem::take(&mut self.published)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_interface::record::Record;
    use vm_memory::{Bytes, GuestAddress};

    const RAM_LEN: u64 = 4 << 20;
    const RECORD: u32 = 0x800;
    const TEXT: u64 = 0x1000;

    /// A doorbell, and RAM whose bytes from [`TEXT`] on count up.
    fn doorbell() -> ResultDoorbell {
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), RAM_LEN as usize)]).unwrap();
        let text: Vec<u8> = (0..RAM_LEN - TEXT).map(|index| index as u8).collect();
        memory.write_slice(&text, GuestAddress(TEXT)).unwrap();
        ResultDoorbell::new(memory)
    }

    fn publish(doorbell: &mut ResultDoorbell, address: u64, len_bytes: u32) {
        let record = Record { address, len_bytes }.encode();
        doorbell.memory.write_slice(&record, GuestAddress(RECORD.into())).unwrap();
        doorbell.ring(&RECORD.to_le_bytes());
    }

    #[test]
    fn each_document_replaces_the_one_before() {
        let mut doorbell = doorbell();
        for len in [300, 0, RESULT_LEN_MAX as u32, 3] {
            publish(&mut doorbell, TEXT, len);
            let document = doorbell.published.document.as_ref().unwrap();
            assert_eq!(document.len(), len as usize);
            assert!(document.iter().zip(0..).all(|(byte, index): (_, u64)| *byte == index as u8));
        }
        assert_eq!(doorbell.take(), Published { document: Some(vec![0, 1, 2]), dropped: 0 });
    }

    #[test]
    fn what_makes_no_sense_is_counted_and_leaves_the_document() {
        let mut doorbell = doorbell();
        publish(&mut doorbell, TEXT, 2);
        let records = [
            (TEXT, RESULT_LEN_MAX as u32 + 1),
            (TEXT, u32::MAX),
            (RAM_LEN - 4, 5),
            (RAM_LEN - 1, RESULT_LEN_MAX as u32),
            (RAM_LEN, 1),
            (u64::MAX, 1),
            (u64::MAX - 3, 8),
        ];
        for (address, len_bytes) in records {
            publish(&mut doorbell, address, len_bytes);
        }
        for address in [RAM_LEN as u32 - 1, RAM_LEN as u32, u32::MAX] {
            doorbell.ring(&address.to_le_bytes());
        }
        for len in [0, 1, 2, 3, 5, 8] {
            doorbell.ring(&vec![0; len]);
        }
        let dropped = records.len() as u64 + 3 + 6;
        assert_eq!(doorbell.take(), Published { document: Some(vec![0, 1]), dropped });
    }

    #[test]
    fn without_a_document_there_is_none() {
        let mut doorbell = doorbell();
        publish(&mut doorbell, RAM_LEN, 4);
        assert_eq!(doorbell.take(), Published { document: None, dropped: 1 });
    }

    #[test]
    fn a_flood_takes_no_more_memory_than_two_documents() {
        let mut doorbell = doorbell();
        for round in 0..1000 {
            publish(&mut doorbell, TEXT, [1, RESULT_LEN_MAX as u32, u32::MAX, 9][round % 4]);
        }
        // A vector that grows by doubling may have twice what it needs.
        assert!(doorbell.arriving.capacity() <= 2 * RESULT_LEN_MAX);
        assert!(doorbell.take().document.unwrap().capacity() <= 2 * RESULT_LEN_MAX);
    }
}
