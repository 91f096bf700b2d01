//! What the `acpi` crate reads memory through.

use super::fadt::FadtCopy;
use super::firmware_memory::FirmwareMemory;
use acpi::{AcpiHandler, PhysicalMapping};
use core::ptr::NonNull;

/// Shown in place of what can't be shown, since the crate takes no refusal. It has no table's signature, and the
/// signature is what the crate looks at first.
static BLANK: [u8; BLANK_LEN] = [0; BLANK_LEN];
/// As long as the longest structure that the crate makes a reference to.
const BLANK_LEN: usize = size_of::<acpi::fadt::Fadt>();

/// Shows firmware memory to the crate.
pub(super) struct Handler<'m, M> {
    memory: &'m M,
    fadt: Option<&'m FadtCopy>,
}

impl<'m, M: FirmwareMemory> Handler<'m, M> {
    /// With a FADT copy, that is what the crate sees at the FADT's address.
    pub(super) fn new(memory: &'m M, fadt: Option<&'m FadtCopy>) -> Self {
        Self { memory, fadt }
    }
}

// Not derived, as that would ask for memory that can be cloned.
impl<M> Clone for Handler<'_, M> {
    fn clone(&self) -> Self {
        Self { memory: self.memory, fadt: self.fadt }
    }
}

impl<M: FirmwareMemory> AcpiHandler for Handler<'_, M> {
    unsafe fn map_physical_region<T>(
        &self,
        physical_address: usize,
        size: usize,
    ) -> PhysicalMapping<Self, T> {
        // The crate makes references to `T`, at addresses that the tables say.
        const { assert!(align_of::<T>() == 1, "a table may lie at any address") };
        const { assert!(size_of::<T>() <= BLANK_LEN, "the blank has to be as long as any structure") };
        // For a table shorter than its structure the crate asks for too little.
        let len_bytes = size.max(size_of::<T>());
        let physical = physical_address as u64;
        let copy = self.fadt.and_then(|fadt| fadt.show(physical, len_bytes));
        let shown = copy.or_else(|| self.memory.show(physical, len_bytes as u64));
        let (start, len_bytes) = match shown {
            Some(start) => (start, len_bytes),
            None => (NonNull::from(&BLANK).cast(), BLANK_LEN),
        };
        // SAFETY: `len_bytes` bytes can be read at `start`, as long as what this handler borrows lives, and with it the
        // handler in the result: `FirmwareMemory` promises it, and the copy and the blank have that many. They are
        // enough for a `T`, which needs no alignment.
        unsafe { PhysicalMapping::new(physical_address, start.cast(), len_bytes, len_bytes, self.clone()) }
    }

    /// What is shown stays so.
    fn unmap_physical_region<T>(_: &PhysicalMapping<Self, T>) {}
}
