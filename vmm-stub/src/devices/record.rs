//! Fetches what a doorbell names from guest memory. All of it is hostile (see [`guest_interface::record`]).

use crate::memory::GuestMemory;
use guest_interface::record::{RECORD_LEN, Record};
use vm_memory::{Bytes, GuestAddress};

/// Copies out the bytes of the record whose address the guest wrote as `data`, so that what is used is what was checked.
/// `None` if they are not all in RAM, or more than `len_max`; what is in `buffer` then is unspecified.
pub(crate) fn fetch<'buffer>(
    memory: &GuestMemory,
    data: &[u8],
    len_max: usize,
    buffer: &'buffer mut Vec<u8>,
) -> Option<&'buffer [u8]> {
    let record_address = u32::from_le_bytes(data.try_into().ok()?);
    let mut record = [0; RECORD_LEN];
    memory.read_slice(&mut record, GuestAddress(record_address.into())).ok()?;
    let record = Record::decode(record);
    let len_bytes = usize::try_from(record.len_bytes).ok().filter(|&len_bytes| len_bytes <= len_max)?;
    buffer.resize(len_bytes, 0);
    memory.read_slice(buffer, GuestAddress(record.address)).ok()?;
    Some(buffer)
}
