use super::*;
use std::io::{Error, ErrorKind};

const NAME_LEN: usize = 48;
const CUMULATIVE: u32 = 0;
const LOG_HISTOGRAM: u32 = KVM_STATS_TYPE_LOG_HIST << KVM_STATS_TYPE_SHIFT;

fn header(name_len: u32, count: u32, descriptors: u32, data: u32) -> Vec<u8> {
    [0, name_len, count, 24, descriptors, data].iter().flat_map(|field| field.to_ne_bytes()).collect()
}

fn descriptor(flags: u32, count: u16, offset: u32, name: &str) -> Vec<u8> {
    let mut bytes = flags.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&0_i16.to_ne_bytes());
    bytes.extend_from_slice(&count.to_ne_bytes());
    bytes.extend_from_slice(&offset.to_ne_bytes());
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    let mut padded = [0; NAME_LEN];
    padded[..name.len()].copy_from_slice(name.as_bytes());
    bytes.extend_from_slice(&padded);
    bytes
}

/// A file as Linux makes it: header, id, descriptors, data.
fn file(descriptors: &[Vec<u8>], data: &[u64]) -> Vec<u8> {
    let start = HEADER_LEN + NAME_LEN;
    let data_start = start + descriptors.len() * (DESCRIPTOR_LEN + NAME_LEN);
    let mut file = header(NAME_LEN as u32, descriptors.len() as u32, start as u32, data_start as u32);
    file.extend_from_slice(&[0; NAME_LEN]);
    file.extend(descriptors.concat());
    file.extend(data.iter().flat_map(|value| value.to_ne_bytes()));
    file
}

fn read(file: &[u8]) -> Result<Vec<Statistic>, StatisticsError> {
    let read_at = |offset, len| {
        let bytes = usize::try_from(offset).ok().and_then(|offset| file.get(offset..)?.get(..len));
        bytes.map(<[u8]>::to_vec).ok_or_else(|| StatisticsError::Read(ErrorKind::UnexpectedEof.into()))
    };
    Layout::read(read_at)?.statistics(read_at)
}

fn single(name: &str, value: u64) -> Statistic {
    Statistic { name: name.to_owned(), values: Values::Single(value) }
}

#[test]
fn values_are_found_by_their_offsets() {
    let descriptors = [
        descriptor(CUMULATIVE, 1, 24, "pages_4k"),
        descriptor(LOG_HISTOGRAM, 2, 8, "wait_hist"),
        descriptor(CUMULATIVE, 1, 0, &"x".repeat(NAME_LEN)),
        descriptor(LOG_HISTOGRAM, 1, 0, "short_hist"),
        descriptor(CUMULATIVE, 0, 0, "nothing"),
    ];
    let several = |name: &str, values: &[u64]| Statistic {
        name: name.to_owned(),
        values: Values::Several(values.to_vec()),
    };
    let expected = [
        single("pages_4k", u64::MAX),
        several("wait_hist", &[6, 7]),
        single(&"x".repeat(NAME_LEN), 5),
        several("short_hist", &[5]),
        several("nothing", &[]),
    ];
    assert_eq!(read(&file(&descriptors, &[5, 6, 7, u64::MAX])).unwrap(), expected);
    assert_eq!(read(&file(&[], &[])).unwrap(), []);
}

#[test]
fn blocks_may_lie_in_any_order() {
    let mut bytes = header(NAME_LEN as u32, 1, 32, 24);
    bytes.extend_from_slice(&9_u64.to_ne_bytes());
    bytes.extend(descriptor(CUMULATIVE, 1, 0, "exits"));
    assert_eq!(read(&bytes).unwrap(), [single("exits", 9)]);
}

#[test]
fn what_is_cut_short_anywhere_can_not_be_read() {
    let whole = file(&[descriptor(CUMULATIVE, 1, 0, "a"), descriptor(LOG_HISTOGRAM, 3, 8, "b")], &[1; 4]);
    assert!(read(&whole).is_ok());
    for len in 0..whole.len() {
        assert!(matches!(read(&whole[..len]), Err(StatisticsError::Read(_))), "{len}");
    }
}

#[test]
fn what_makes_no_sense_is_told() {
    let said = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    let one = |descriptor| said(&file(&[descriptor], &[0]));
    assert_eq!(said(&header(0, 1, 24, 24)), "their header gives names 0 bytes");
    assert_eq!(said(&header(u32::MAX, 1, 24, 24)), "their header gives names 4294967295 bytes");
    assert_eq!(said(&header(48, u32::MAX, 24, 24)), "their header counts 4294967295 of them");
    assert_eq!(one(descriptor(CUMULATIVE, 1, 0, "")), "number 0 has no name of letters and digits");
    for name in ["a\"", "a b", "a\\", "ä", "\n"] {
        assert_eq!(one(descriptor(CUMULATIVE, 1, 0, name)), "number 0 has no name of letters and digits");
    }
    let far = descriptor(CUMULATIVE, u16::MAX, u32::MAX, "far");
    assert_eq!(one(far), "far has 65535 values at byte 4294967295");
}

/// Whatever the bytes are, reading them ends, and not by a panic.
#[test]
fn no_bytes_are_too_absurd() {
    let whole = file(&[descriptor(LOG_HISTOGRAM, 3, 8, "b"), descriptor(CUMULATIVE, 1, 0, "a")], &[1; 4]);
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let _ = read(&bytes);
        }
    }
    let refused: Result<_, _> = Layout::read(|_, _| Err(StatisticsError::Read(Error::other("no"))));
    assert!(refused.is_err());
}
