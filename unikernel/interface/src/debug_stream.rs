//! What a guest says through QEMU's [debug console](crate::ports::DEBUGCON): a stream of bytes that carries messages.
//!
//! | message | bytes |
//! |---|---|
//! | exit status | [`STATUS_TAG`], the status |
//! | result | [`RESULT_TAG`], length of the document (4 bytes, little-endian), the document |
//!
//! Both tags are control characters, which no text holds: text that something else prints there, such as firmware, is
//! skipped. A message that another interrupts, as a panic while a document is sent would, swallows the beginning of the
//! other; so a status that the stream carries only confirms and completes the one in QEMU's own exit status.

use crate::result::RESULT_LEN_MAX;
use alloc::vec::Vec;

/// First byte of an exit status.
pub const STATUS_TAG: u8 = 0x01;

/// First byte of a result.
pub const RESULT_TAG: u8 = 0x02;

/// The message that tells an exit status.
#[must_use]
pub const fn status_message(status: u8) -> [u8; 2] {
    [STATUS_TAG, status]
}

/// What goes before a document of this many bytes.
#[must_use]
pub const fn result_header(len_bytes: u32) -> [u8; 5] {
    let [a, b, c, d] = len_bytes.to_le_bytes();
    [RESULT_TAG, a, b, c, d]
}

/// Reads the stream of a guest that may write anything. Of each kind of message it keeps the last one that is complete,
/// so its memory is bounded by two documents of [`RESULT_LEN_MAX`], whatever comes.
#[derive(Debug, Default)]
pub struct Decoder {
    expected: Expected,
    arriving: Vec<u8>,
    document: Option<Vec<u8>>,
    dropped_documents: u64,
    status: Option<u8>,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default)]
enum Expected {
    #[default]
    Tag,
    Status,
    /// One of the bytes of a length, of which these have come, the first in the lowest place.
    Length {
        so_far: u32,
        bits: u32,
    },
    /// One of this many bytes of a document.
    Document {
        left: u32,
    },
    /// One of this many bytes of a document that is too long.
    Dropped {
        left: u32,
    },
}

impl Decoder {
    /// Reads what comes next; a message may be cut anywhere.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, behind)) = bytes.split_first() {
            let mut taken = 1;
            self.expected = match self.expected {
                Expected::Tag => match byte {
                    STATUS_TAG => Expected::Status,
                    RESULT_TAG => Expected::Length { so_far: 0, bits: 0 },
                    _ => Expected::Tag,
                },
                Expected::Status => {
                    self.status = Some(byte);
                    Expected::Tag
                }
                Expected::Length { so_far, bits } => {
                    let so_far = so_far | u32::from(byte) << bits;
                    if bits < 24 { Expected::Length { so_far, bits: bits + 8 } } else { self.begin(so_far) }
                }
                Expected::Document { left } => {
                    taken = bytes.len().min(left as usize);
                    self.arriving.extend_from_slice(&bytes[..taken]);
                    self.advance(left - taken as u32)
                }
                Expected::Dropped { left } => {
                    taken = bytes.len().min(left as usize);
                    match left - taken as u32 {
                        0 => Expected::Tag,
                        left => Expected::Dropped { left },
                    }
                }
            };
            bytes = &behind[taken - 1..];
        }
    }

    /// The last status.
    #[must_use]
    pub const fn status(&self) -> Option<u8> {
        self.status
    }

    /// Number of documents that were too long.
    #[must_use]
    pub const fn dropped_documents(&self) -> u64 {
        self.dropped_documents
    }

    /// The last document that came whole.
    #[must_use]
    pub fn into_document(self) -> Option<Vec<u8>> {
        self.document
    }

    /// A document of this length begins.
    fn begin(&mut self, len_bytes: u32) -> Expected {
        if len_bytes as usize > RESULT_LEN_MAX {
            self.dropped_documents = self.dropped_documents.saturating_add(1);
            return Expected::Dropped { left: len_bytes };
        }
        self.arriving.clear();
        self.advance(len_bytes)
    }

    /// So many bytes of the arriving document are left.
    fn advance(&mut self, left: u32) -> Expected {
        if left > 0 {
            return Expected::Document { left };
        }
        // The replaced document's memory serves for the next one.
        core::mem::swap(self.document.get_or_insert_default(), &mut self.arriving);
        Expected::Tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn result_message(document: &[u8]) -> Vec<u8> {
        [&result_header(document.len() as u32), document].concat()
    }

    fn decoded(stream: &[u8]) -> Decoder {
        let mut decoder = Decoder::default();
        decoder.push(stream);
        decoder
    }

    #[test]
    fn the_last_of_each_kind_counts() {
        let stream = [
            &result_message(b"first and longest")[..],
            &status_message(7),
            &result_message(b""),
            &result_message(b"\x01\x02 last"),
            &status_message(255),
        ]
        .concat();
        let decoder = decoded(&stream);
        assert_eq!((decoder.status(), decoder.dropped_documents()), (Some(255), 0));
        assert_eq!(decoder.into_document().unwrap(), b"\x01\x02 last");
        assert_eq!(decoded(b"").into_document(), None);
        assert_eq!(decoded(&result_message(b"")).into_document(), Some(vec![]));
    }

    #[test]
    fn a_stream_may_be_cut_anywhere() {
        let stream = [
            b"firmware says hello\r\n",
            &result_message(&vec![b'x'; 300])[..],
            &status_message(0),
            &result_message(b"end"),
        ]
        .concat();
        for cut in 0..=stream.len() {
            let mut decoder = decoded(&stream[..cut]);
            decoder.push(&stream[cut..]);
            assert_eq!(decoder.status(), Some(0), "cut at {cut}");
            assert_eq!(decoder.into_document().unwrap(), b"end", "cut at {cut}");
        }
        let mut bytewise = Decoder::default();
        stream.iter().for_each(|byte| bytewise.push(&[*byte]));
        assert_eq!(bytewise.into_document().unwrap(), b"end");
    }

    #[test]
    fn a_document_that_breaks_off_leaves_the_one_before() {
        let whole = result_message(b"whole");
        for stream in [&result_header(9)[..], &result_message(b"broken")[..10], &[RESULT_TAG, 1, 0]] {
            let decoder = decoded(&[&whole, stream].concat());
            assert_eq!(decoder.into_document().unwrap(), b"whole");
        }
    }

    #[test]
    fn a_document_that_is_too_long_is_skipped_and_counted() {
        let longest = vec![b'x'; RESULT_LEN_MAX];
        let mut decoder = decoded(&result_message(&longest));
        for len in [RESULT_LEN_MAX + 1, 3 * RESULT_LEN_MAX] {
            // Its content looks like messages.
            decoder.push(&result_message(&[STATUS_TAG, RESULT_TAG, 0].repeat(len / 3 + 1)));
        }
        decoder.push(&status_message(3));
        assert_eq!((decoder.status(), decoder.dropped_documents()), (Some(3), 2));
        assert_eq!(decoder.into_document().unwrap(), longest);
    }

    #[test]
    fn a_length_alone_takes_no_memory() {
        let mut decoder = decoded(&result_header(RESULT_LEN_MAX as u32));
        assert_eq!(decoder.arriving.capacity(), 0);
        decoder = decoded(&result_header(u32::MAX));
        assert_eq!((decoder.arriving.capacity(), decoder.dropped_documents()), (0, 1));
    }

    #[test]
    fn a_flood_takes_no_more_memory_than_two_documents() {
        let mut decoder = Decoder::default();
        let documents =
            [1, RESULT_LEN_MAX, 5, RESULT_LEN_MAX - 1].map(|len| result_message(&vec![b'x'; len]));
        for round in 0..200 {
            decoder.push(&documents[round % documents.len()]);
        }
        // A vector that grows by doubling may have twice what it needs.
        assert!(decoder.arriving.capacity() <= 2 * RESULT_LEN_MAX);
        assert!(decoder.into_document().unwrap().capacity() <= 2 * RESULT_LEN_MAX);
    }

    #[test]
    fn any_bytes_decode() {
        // A generator of Marsaglia's xorshift family, with tags made frequent.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut decoder = Decoder::default();
        for _ in 0..20_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let [mut word @ .., cut, small] = state.to_le_bytes();
            if small < 128 {
                word[0] = small % 3;
                word[2..5].fill(0);
            }
            decoder.push(&word[..usize::from(cut) % 7]);
            assert!(decoder.arriving.len() <= RESULT_LEN_MAX);
        }
    }
}
