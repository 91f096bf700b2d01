//! The processor: the kind of host it belongs to, descriptor tables, exceptions and interrupts, the clock and timers.
//!
//! | for applications | |
//! |---|---|
//! | [`clock`] | the time, as [`clock::Instant`] |
//! | [`sleep`] | letting it pass |
//! | [`timer`] | being called when it has |
//! | [`interrupts`] | not being called for a while |
//! | [`vectors`] | which vector registers there are |

pub mod clock;
pub(crate) mod descriptors;
pub(crate) mod exceptions;
pub mod features;
mod halt;
pub mod host;
mod instant;
pub mod interrupts;
mod kvm_clock;
pub(crate) mod local_apic;
mod page_fault;
mod per_cpu;
pub mod sleep;
pub mod timer;
pub mod vectors;
