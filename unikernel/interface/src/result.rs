//! The result channel: a document that the application makes and the VMM writes to a file of the user's.
//!
//! Each document replaces the one before. A guest may publish what it has after every step, so that a run which is ended
//! from outside still leaves its last one. What is in a document is between the application and whoever reads the file.
//!
//! Under `vmm-stub` a ring of [a port](crate::ports::RESULT) hands over the bytes that a [record](crate::record) names.
//! The [host information](crate::host_information) names that port only if somebody asked for a result. Under QEMU the
//! document goes through the [debug console](crate::debug_stream), whether or not anybody asked: the guest can't know.

/// Longest document, in bytes. A longer one is dropped whole.
pub const RESULT_LEN_MAX: usize = 1 << 20;
