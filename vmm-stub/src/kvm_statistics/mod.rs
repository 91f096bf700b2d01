//! What KVM counts of a machine and its vCPUs (Linux Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD): what is mapped by
//! which page size, how often a vCPU faulted, exited and halted, and how long it waited.
//!
//! | part | what it is about |
//! |---|---|
//! | [`source`] | the files in which KVM gives them, opened before the run and read after it |
//! | [`layout`] | how such a file describes itself |
//! | [`document`] | what is made of them for `--stats` |
//! | [`output`] | where that goes |
//!
//! Which statistics there are depends on the kernel, so that names and lengths come from it; none of them is trusted to
//! make sense.

pub(crate) mod document;
mod layout;
pub(crate) mod output;
pub(crate) mod source;

use std::io;

/// What KVM counts under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statistic {
    /// As KVM spells it: letters, digits and `_`.
    pub(crate) name: String,
    pub(crate) values: Values,
}

/// The values of one statistic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    Single(u64),
    /// A histogram's buckets, or what else has several values.
    Several(Vec<u64>),
}

/// The statistics of a machine that has run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statistics {
    pub(crate) vm: Vec<Statistic>,
    pub(crate) vcpus: Vec<Vec<Statistic>>,
    /// Pages of 4 KiB that the guest has written, if KVM has noted it.
    pub(crate) dirty_pages: Option<u64>,
}

/// Why there are no statistics.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatisticsError {
    #[error("they can't be opened ({0})")]
    Open(io::Error),

    #[error("they can't be read ({0})")]
    Read(io::Error),

    #[error("which pages were written can't be read ({0})")]
    DirtyLog(io::Error),

    #[error("their header counts {0} of them")]
    TooMany(u32),

    #[error("their header gives names {0} bytes")]
    NameLen(u32),

    #[error("number {0} has no name of letters and digits")]
    Name(usize),

    #[error("{name} has {count} values at byte {offset}")]
    Place { name: String, count: u16, offset: u32 },
}
