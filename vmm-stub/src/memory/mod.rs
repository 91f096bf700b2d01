//! Guest memory: how much there is ([`size`]), where it lies ([`layout`]), what backs it on the host ([`backing`]), the ROM of a
//! machine that has one ([`firmware`]), what KVM is told of it ([`slots`]), and how much of it the host has left ([`available`]) and uses ([`resident`]).

pub(crate) mod available;
pub(crate) mod backing;
pub(crate) mod firmware;
pub mod layout;
pub(crate) mod quantity;
pub(crate) mod resident;
pub mod size;
pub(crate) mod slots;

/// Guest memory as all parts of the VMM use it: no dirty-page tracking.
pub(crate) type GuestMemory = vm_memory::GuestMemoryMmap<()>;
