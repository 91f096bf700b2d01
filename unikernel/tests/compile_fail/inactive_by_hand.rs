//! The right over an address space that was never active comes with the address space only.

use unikernel::memory::address::PhysAddr;
use unikernel::memory::address_space::Inactive;

fn forge(root: PhysAddr) -> Inactive {
    Inactive { root }
}

fn main() {}
