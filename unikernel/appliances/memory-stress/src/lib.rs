//! Memory stress: fills memory, verifies it, measures it, and says what it found. The same program runs in the guest and as
//! a process on the host.
//!
//! | module | what it is about |
//! |---|---|
//! | [`kernel`] | the loops that touch memory |
//! | [`content`], [`method`] | what is written where, and in which steps |
//! | [`memory`], [`execute`] | memory under test, and methods at work on it |
//! | [`measure`] | bandwidth and latency |
//! | [`churn`] | work that stresses the allocator, the page tables and page faults |
//! | [`options`], [`program`], [`document`] | command line, run, result |
//! | [`platform`] | what it needs of guest or host |
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod churn;
pub mod content;
pub mod document;
pub mod execute;
pub mod kernel;
pub mod measure;
pub mod memory;
pub mod method;
pub mod options;
pub mod platform;
pub mod program;
mod progress;
mod regions;
mod run;
