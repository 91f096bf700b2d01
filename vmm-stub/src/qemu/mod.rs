//! A machine that QEMU emulates: the same image with the same command line, the same exit statuses.
//!
//! QEMU's `isa-debug-exit` ends it with `(status << 1) | 1`, so a guest's status 0 looks like a failure of QEMU itself.
//! The guest therefore tells its status through QEMU's `isa-debugcon`, too, just before it writes to the exit port; that
//! device prints to a pipe which is read here ([`process`]), and both together say how the guest ended ([`status`]). The
//! same pipe carries the documents of the result channel.

pub(crate) mod arguments;
pub(crate) mod process;
pub(crate) mod status;
