//! What the program needs of the machine it runs on: a guest, or a process on the host.

use crate::churn::fault::DemandMemory;
use crate::churn::map::Mapper;
use crate::kernel::Kernels;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// A machine to run on.
pub trait Platform {
    /// What maps memory here.
    type Mapper: Mapper;
    /// What has pages come on demand here.
    type DemandMemory: DemandMemory;

    /// Time since some moment.
    fn now(&self) -> Duration;
    /// Bytes that could be allocated, without those that the allocator keeps at hand for blocks.
    fn free_bytes(&self) -> u64;
    /// Has the allocator give up what it keeps at hand.
    fn trim(&self);
    /// The fastest loops that this processor can run.
    fn kernels(&self) -> Kernels;
    /// Physical address of a virtual one, where it is known.
    fn physical_address(&self, address: u64) -> Option<u64>;
    /// What maps memory, if there is anything that does.
    fn mapper(&self) -> Option<Self::Mapper>;
    /// What has pages come on demand.
    fn demand_memory(&self) -> Self::DemandMemory;
    /// Whether somebody watches, so that progress is worth showing.
    fn is_terminal(&self) -> bool;
    /// Prints at once, without a line end.
    fn print(&self, text: fmt::Arguments<'_>);
    /// Hands over the result so far, in place of the one before.
    fn publish(&self, document: &str);
    /// Whether the program has the machine's page tables to itself.
    fn has_page_tables(&self) -> bool;
    /// Audits the page tables, and prints what there is. Says whether all is as it must be.
    fn audit(&self) -> bool;
    /// Prints all that is mapped.
    fn dump_address_space(&self);
}

/// A number with three decimals, given in thousandths; may be padded.
pub struct Thousandths(pub u64);

impl fmt::Display for Thousandths {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&alloc::format!("{}.{:03}", self.0 / 1000, self.0 % 1000))
    }
}

/// Bytes by time, in whole MiB a second.
#[must_use]
pub fn mib_per_second(bytes: u64, time: Duration) -> u64 {
    ((u128::from(bytes) * 1_000_000_000 / time.as_nanos().max(1)) >> 20) as u64
}

/// Whole nanoseconds of a time; right for 500 years.
#[must_use]
pub const fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

/// `0x…`.
#[must_use]
pub fn hexadecimal(number: u64) -> String {
    alloc::format!("{number:#x}")
}
