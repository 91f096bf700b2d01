//! How a file of statistics describes itself: a header says where descriptors and data lie, and each descriptor names a
//! statistic and says where in the data its values are, 64 bits each. All of it in the byte order of the host.
//!
//! Only the data changes, so that the rest is read and checked once.

use super::{Statistic, StatisticsError, Values};
use kvm_bindings::{
    KVM_STATS_TYPE_LINEAR_HIST, KVM_STATS_TYPE_LOG_HIST, KVM_STATS_TYPE_MASK, KVM_STATS_TYPE_SHIFT,
    kvm_stats_desc, kvm_stats_header,
};
use std::mem::offset_of;

/// Bounds on what a kernel may say. Linux 6.18 has some 50 for a vCPU, names of 48 bytes, and 1.1 KiB of data.
const COUNT_MAX: u32 = 4096;
const NAME_LEN_MAX: u32 = 1024;
const DATA_LEN_MAX: usize = 1 << 20;

const HEADER_LEN: usize = size_of::<kvm_stats_header>();
const DESCRIPTOR_LEN: usize = size_of::<kvm_stats_desc>();
const VALUE_LEN: usize = size_of::<u64>();

/// Reads so many bytes from such a file, at an offset: all of them, or none.
pub(super) trait ReadAt: Fn(u64, usize) -> Result<Vec<u8>, StatisticsError> {}
impl<F: Fn(u64, usize) -> Result<Vec<u8>, StatisticsError>> ReadAt for F {}

/// A file's layout, as far as it has to be known to read its data.
#[derive(Debug)]
pub(super) struct Layout {
    data_offset: u64,
    data_len: usize,
    descriptors: Vec<Descriptor>,
}

#[derive(Debug)]
struct Descriptor {
    name: String,
    is_histogram: bool,
    /// Number of values.
    count: usize,
    /// Of the first value, in bytes into the data.
    offset: usize,
}

impl Layout {
    /// Reads and checks a layout.
    ///
    /// # Errors
    /// What can't be read, and what is beyond all bounds.
    pub(super) fn read(read_at: impl ReadAt) -> Result<Self, StatisticsError> {
        let header = read_at(0, HEADER_LEN)?;
        let field = |offset| u32::from_ne_bytes(bytes_at(&header, offset));
        let name_len = field(offset_of!(kvm_stats_header, name_size));
        if !(1..=NAME_LEN_MAX).contains(&name_len) {
            return Err(StatisticsError::NameLen(name_len));
        }
        let count = field(offset_of!(kvm_stats_header, num_desc));
        if count > COUNT_MAX {
            return Err(StatisticsError::TooMany(count));
        }
        // Neither product overflows, by the bounds.
        let descriptor_len = DESCRIPTOR_LEN + name_len as usize;
        let offset = field(offset_of!(kvm_stats_header, desc_offset));
        let bytes = read_at(offset.into(), count as usize * descriptor_len)?;
        let descriptors = bytes.chunks_exact(descriptor_len).enumerate();
        let descriptors = descriptors
            .map(|(index, bytes)| Descriptor::parse(index, bytes))
            .collect::<Result<Vec<_>, _>>()?;
        let data_len = descriptors.iter().map(Descriptor::end).max().unwrap_or(0);
        Ok(Self {
            data_offset: field(offset_of!(kvm_stats_header, data_offset)).into(),
            data_len,
            descriptors,
        })
    }

    /// Reads the statistics as they are at this moment.
    ///
    /// # Errors
    /// What can't be read.
    pub(super) fn statistics(&self, read_at: impl ReadAt) -> Result<Vec<Statistic>, StatisticsError> {
        let data = read_at(self.data_offset, self.data_len)?;
        Ok(self.descriptors.iter().map(|descriptor| descriptor.statistic(&data)).collect())
    }
}

impl Descriptor {
    /// Checks a descriptor with the name behind it.
    fn parse(index: usize, bytes: &[u8]) -> Result<Self, StatisticsError> {
        let name = bytes.get(DESCRIPTOR_LEN..).unwrap_or_default();
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        let is_name = |name: &&[u8]| {
            !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        };
        let name = Some(name).filter(is_name).ok_or(StatisticsError::Name(index))?;
        let name = String::from_utf8_lossy(name).into_owned();

        let count = u16::from_ne_bytes(bytes_at(bytes, offset_of!(kvm_stats_desc, size)));
        let offset = u32::from_ne_bytes(bytes_at(bytes, offset_of!(kvm_stats_desc, offset)));
        let flags = u32::from_ne_bytes(bytes_at(bytes, offset_of!(kvm_stats_desc, flags)));
        let kind = (flags & KVM_STATS_TYPE_MASK) >> KVM_STATS_TYPE_SHIFT;
        let is_histogram = matches!(kind, KVM_STATS_TYPE_LINEAR_HIST | KVM_STATS_TYPE_LOG_HIST);
        let descriptor = Self { name, is_histogram, count: count.into(), offset: offset as usize };
        match descriptor.end() {
            0..=DATA_LEN_MAX => Ok(descriptor),
            _ => Err(StatisticsError::Place { name: descriptor.name, count, offset }),
        }
    }

    /// The offset behind the last value. No overflow: the parts have 32 and 16 bits.
    const fn end(&self) -> usize {
        self.offset + self.count * VALUE_LEN
    }

    fn statistic(&self, data: &[u8]) -> Statistic {
        let bytes = data.get(self.offset..self.end()).unwrap_or_default();
        let values = bytes.chunks_exact(VALUE_LEN).map(|bytes| u64::from_ne_bytes(bytes_at(bytes, 0)));
        let values: Vec<u64> = values.collect();
        let values = match values[..] {
            [value] if !self.is_histogram => Values::Single(value),
            _ => Values::Several(values),
        };
        Statistic { name: self.name.clone(), values }
    }
}

/// Bytes of a field; zeroes where there are none, which no caller reads.
fn bytes_at<const LEN: usize>(bytes: &[u8], offset: usize) -> [u8; LEN] {
    let field = bytes.get(offset..).and_then(<[u8]>::first_chunk);
    field.copied().unwrap_or([0; LEN])
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
