//! What a Freehold guest and the VMM that runs it agree on: ports, exit statuses, the guest-physical memory map, the
//! record behind a doorbell, the result channel, the stream of the debug console, the host information module, what QEMU
//! hands to firmware and guests, the form of the command line, with the application's variables in it, and what a KVM
//! without hardware virtualization demands.
//!
//! Kernel, `vmm-stub` and the tests all depend on this crate, so none of these numbers is written twice. The crate
//! holds no code that touches hardware and builds for guest and host alike. Without the feature `alloc`, for firmware that has
//! no allocator, it has only what needs none.
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "alloc")]
pub mod command_line;
pub mod console;
#[cfg(feature = "alloc")]
pub mod debug_stream;
#[cfg(feature = "alloc")]
pub mod environment;
pub mod fw_cfg;
pub mod host_information;
pub mod kvm_pvm;
pub mod layout;
pub mod ports;
pub mod record;
pub mod result;
pub mod status;
#[cfg(feature = "alloc")]
pub mod symbols;
