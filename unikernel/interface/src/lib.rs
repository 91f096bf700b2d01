//! What a Freehold guest and the VMM that runs it agree on: ports, exit statuses, the guest-physical memory map, the
//! record behind a doorbell, the result channel, the stream of the debug console, the host information module and the
//! form of the command line, with the application's variables in it.
//!
//! Kernel, `vmm-stub` and the tests all depend on this crate, so none of these numbers is written twice. The crate
//! holds no code that touches hardware and builds for guest and host alike.
#![no_std]

extern crate alloc;

pub mod command_line;
pub mod command_line_builder;
pub mod console;
pub mod debug_stream;
pub mod environment;
pub mod host_information;
pub mod layout;
pub mod ports;
pub mod record;
pub mod result;
pub mod status;
pub mod symbols;
