//! The record behind a doorbell: bytes in guest memory, handed to the VMM by one port write.
//!
//! The guest keeps the record in RAM below 4 GiB, fills in where its bytes are, and writes the record's guest-physical
//! address to a doorbell port with a 32-bit write: [the console's](crate::ports::DOORBELL) or
//! [the result's](crate::ports::RESULT). The VMM reads record and bytes before the port write completes. It treats both
//! as hostile: a record or bytes outside RAM, or more bytes than the doorbell carries, are dropped whole and counted.

/// Length of an encoded record, in bytes.
pub const RECORD_LEN: usize = 16;

/// Where the bytes are. Encoded little-endian: address (8 bytes), length (4 bytes), 4 bytes of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Guest-physical address of the first byte.
    pub address: u64,
    /// Number of bytes.
    pub len_bytes: u32,
}

impl Record {
    /// The record as it lies in guest memory.
    #[must_use]
    pub const fn encode(self) -> [u8; RECORD_LEN] {
        ((self.address as u128) | ((self.len_bytes as u128) << 64)).to_le_bytes()
    }

    /// Reads a record from guest memory. Any bytes decode; whether the record makes sense is the reader's to check.
    #[must_use]
    pub const fn decode(bytes: [u8; RECORD_LEN]) -> Self {
        let word = u128::from_le_bytes(bytes);
        Self { address: word as u64, len_bytes: (word >> 64) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_little_endian_address_then_length() {
        let record = Record { address: 0x1122_3344_5566_7788, len_bytes: 0x99aa_bbcc };
        let bytes = record.encode();
        assert_eq!(bytes[..8], [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
        assert_eq!(bytes[8..], [0xcc, 0xbb, 0xaa, 0x99, 0, 0, 0, 0]);
        assert_eq!(Record::decode(bytes), record);
    }
}
