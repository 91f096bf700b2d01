//! The Freehold kernel: a library that an appliance is built on, for a guest of its own.
//!
//! One application and this kernel share one address space. An appliance is a binary crate that names its application
//! with [`appliance!`]; the result boots on KVM by `vmm-stub`, as a QEMU guest, or on any VMM that speaks PVH.
//!
//! | module | what it is about |
//! |---|---|
//! | [`appliance`](mod@appliance) | the application: its arguments, its end, the audit |
//! | [`environment`] | its variables, from the command line |
//! | [`boot`] | from the first instruction to the application |
//! | [`memory`] | frames, typed page tables and their audit; which memory is RAM; the heap |
//! | [`heap`](mod@heap) | what an application can ask of its memory |
//! | [`cpu`] | the kind of host, descriptor tables, exceptions, interrupts, clock and timers |
//! | [`device`] | console, result channel and power-off |
//! | [`diagnosis`] | log, names for addresses, backtraces, faults, panics |
#![no_std]
// On the host the library is built for its tests alone, and nothing calls the boot path. What is really dead is found
// by `just lint`, which checks the guest's build without this.
#![cfg_attr(not(target_os = "none"), allow(dead_code))]

extern crate alloc;

// The model checker of `just test loom` has atomics of its own, and tries the memory core alone.
#[cfg(not(loom))]
pub mod appliance;
#[cfg(not(loom))]
pub mod boot;
#[cfg(not(loom))]
pub mod cpu;
#[cfg(not(loom))]
pub mod device;
#[cfg(not(loom))]
pub mod diagnosis;
#[cfg(not(loom))]
pub mod environment;
#[cfg(not(loom))]
pub mod heap;
pub mod memory;

pub use guest_interface::status::ApplicationStatus;
/// The log: its records go to the console, from the level that the command line says.
pub use log;
