//! The console doorbell: each ring of [its port](crate::ports::DOORBELL) prints the bytes that a
//! [record](crate::record) names.

/// Longest buffer one doorbell may carry, in bytes.
pub const LINE_LEN_MAX: usize = 4096;
