//! The processor: the kind of host it belongs to, descriptor tables, exceptions and the clock.

pub mod clock;
pub(crate) mod descriptors;
pub(crate) mod exceptions;
pub mod features;
pub mod host;
mod kvm_clock;
pub mod vectors;
